"""What a workflow uses, and what is therefore started for it."""

from pathlib import Path

import pytest

from compose.commands.runs import choose_workflow, only_what_is_needed
from compose.usage import used_by
from infra.errors import UserError
from services.router.compiling import compile_graph
from tests.compose.loading import load, plan, router

pytestmark = pytest.mark.unit

FILE = """
    workflows:
      - {id: direct, default: true, component: one}
      - id: nested
        jobs:
          - {id: all, type: for-each, do: {component: runner, action: first, input: "${item}"}}
      - {id: inner, private: true, component: two}
      - {id: other, component: three}
    components:
      - {id: one, type: model, task: text-generation, model: acme/one}
      - {id: two, type: model, task: text-generation, model: acme/two}
      - {id: three, type: model, task: text-generation, model: acme/three}
      - id: runner
        type: workflow
        actions:
          - {id: first, workflow: inner}
          - {id: second, workflow: direct}
"""


@pytest.mark.parametrize(
    ("workflow", "components", "workflows"),
    [
        ("direct", ["one"], ["direct"]),
        ("nested", ["one", "two", "runner"], ["direct", "nested", "inner"]),
        ("other", ["three"], ["other"]),
    ],
)
def test_a_run_may_reach_what_its_components_run(
    tmp_path: Path, workflow: str, components: list[str], workflows: list[str]
) -> None:
    spec = load(tmp_path, FILE).spec
    chosen = spec.workflow(workflow)
    assert chosen is not None
    usage = used_by(chosen, spec)
    assert [component.name for component in usage.components] == components
    assert [other.id for other in usage.workflows] == workflows


def test_a_server_for_one_run_starts_only_models_that_are_reached(tmp_path: Path) -> None:
    loaded = only_what_is_needed(load(tmp_path, FILE), "nested")
    assert [unit.name for unit in plan(loaded).units] == ["one", "two", "router"]
    graph = compile_graph(router(loaded))
    assert graph.default is graph.workflows["nested"]


def test_a_private_workflow_cannot_be_run(tmp_path: Path) -> None:
    loaded = load(tmp_path, FILE)
    with pytest.raises(UserError) as caught:
        choose_workflow(loaded.spec, "inner")
    assert (caught.value.message, caught.value.hint) == (
        "there is no workflow `inner`",
        "name one of direct, nested, other",
    )


def test_a_workflow_that_is_misspelt_is_named(tmp_path: Path) -> None:
    loaded = load(tmp_path, FILE)
    with pytest.raises(UserError) as caught:
        choose_workflow(loaded.spec, "nestd")
    assert caught.value.hint == "did you mean `nested`? name one of direct, nested, other"


def test_a_plan_names_the_workflows_behind_each_model(tmp_path: Path) -> None:
    steps = plan(load(tmp_path, FILE)).steps
    assert [(step.service, step.cause) for step in steps if step.what.startswith("acme/")] == [
        ("one", "for workflows direct, nested"),
        ("two", "for workflows nested, inner"),
        ("three", "for workflow other"),
    ]
