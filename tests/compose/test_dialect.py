from pathlib import Path
from typing import Any

import pytest

from tests.compose.loading import load, models, router

pytestmark = pytest.mark.unit

MODEL = "type: model, task: chat-completion, model: acme/tiny"


def actions(folder: Path, text: str) -> list[dict[str, Any]]:
    (component,) = router(load(folder, text)).components
    return [action.model_dump(exclude_defaults=True) for action in component.actions]


def test_inline_fields_are_defaults_for_each_action(tmp_path: Path) -> None:
    assert actions(
        tmp_path,
        """
        component:
          type: model
          task: text-generation
          model: acme/tiny
          text: ${input.text}
          params: {temperature: 0.5, top_k: 5}
          output: {said: "${result}"}
          actions:
            - id: calm
              default: true
              temperature: 0
              return_full_text: false
            - id: loud
              params: {temperature: 2}
              streaming: true
              output: ${result}
        """,
    ) == [
        {
            "id": "calm",
            "default": True,
            "fields": {"text": "${input.text}", "temperature": 0.0, "top_k": 5, "return_full_text": False},
            "output": {"said": "${result}"},
        },
        {
            "id": "loud",
            "fields": {"text": "${input.text}", "temperature": 2.0, "top_k": 5},
            "output": "${result}",
            "streaming": True,
        },
    ]


@pytest.mark.parametrize("action", ["", "action:", "action: {}", "actions: {}", "action: [{}]", "params:"])
def test_an_action_may_be_left_empty(tmp_path: Path, action: str) -> None:
    text = f"component:\n  type: model\n  task: chat-completion\n  model: acme/tiny\n  {action}\n"
    (found,) = actions(tmp_path, text)
    assert found["fields"].keys() == {"messages"}


@pytest.mark.parametrize(
    "workflow",
    [
        "workflow:",
        "workflow: {}",
        "workflow: {job: {}}",
        "workflow:\n  job:",
        "workflow: {jobs: [{}]}",
        "workflow: {jobs: {component: chatter}}",
        "workflow: {component: chatter}",
        "workflows: [{job: {type: action}}]",
        "workflows: {component: chatter, action: __action__}",
    ],
)
def test_every_way_to_say_one_job_means_the_same(tmp_path: Path, workflow: str) -> None:
    settings = router(load(tmp_path, f"{workflow}\ncomponent: {{id: chatter, {MODEL}}}\n"))
    assert settings.workflows == router(load(tmp_path, f"component: {{id: chatter, {MODEL}}}\n")).workflows


def test_an_inline_workflow_is_one_job_and_keeps_its_output(tmp_path: Path) -> None:
    text = f"""
        workflow:
          component: chatter
          action: talk
          input: {{user_prompt: "${{input.question}}"}}
          repeat_count: 3
          output: {{answers: "${{output}}"}}
        component: {{id: chatter, {MODEL}, action: {{id: talk}}}}
        """
    (workflow,) = router(load(tmp_path, text)).workflows
    assert workflow.output == {"answers": "${output}"}
    assert [job.model_dump(exclude_defaults=True) for job in workflow.jobs] == [
        {
            "id": "__job__",
            "component": "chatter",
            "action": "talk",
            "input": {"user_prompt": "${input.question}"},
            "repeat_count": 3,
        }
    ]


@pytest.mark.parametrize(
    "controller",
    [
        "{type: http-server, host: localhost, port: 9000, base_path: /v2/, origins: 'http://a, http://b'}",
        "{adapter: {host: localhost, port: '9000', base_path: /v2, origins: [http://a, http://b]}}",
        "{adapters: [{host: localhost, port: 9000, base_path: /v2, origins: [http://a, http://b]}]}",
        "{adapter: {type: http-server, host: localhost, port: '${env.PORT}', base_path: /v2, origins: 'http://a,http://b'}}",
    ],
)
def test_the_adapter_may_be_written_in_every_way(tmp_path: Path, controller: str) -> None:
    settings = router(load(tmp_path, f"controller: {controller}\ncomponent: {{{MODEL}}}", PORT="9000"))
    assert (settings.host, settings.port, settings.base_path, settings.origins) == (
        "localhost",
        9000,
        "/v2",
        ("http://a", "http://b"),
    )


@pytest.mark.parametrize(
    ("runtime", "read"),
    [
        ("process", ("process", None)),
        ("{type: docker, start_timeout: 2m}", ("docker", 120)),
        ("{}", (None, None)),
    ],
)
def test_a_runtime_is_a_name_or_a_map(tmp_path: Path, runtime: str, read: object) -> None:
    spec = load(tmp_path, f"component: {{{MODEL}, runtime: {runtime}}}").spec.models[0]
    assert spec.runtime is not None
    assert (spec.runtime.type, spec.runtime.start_timeout) == read


def test_a_key_merged_from_an_anchor_is_as_good_as_written(tmp_path: Path) -> None:
    text = f"""
        workflow: {{component: b}}
        components:
          - &base {{id: a, {MODEL}, temperature: 0.1}}
          - <<: *base
            id: b
        """
    first, second = models(load(tmp_path, text))
    assert (first.id, second.id) == ("a", "b")
    assert first.actions[0].fields == second.actions[0].fields
