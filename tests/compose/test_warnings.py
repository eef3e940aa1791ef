"""What loads and is probably not what was meant."""

from pathlib import Path

import pytest

from tests.compose.loading import load

pytestmark = pytest.mark.unit

COMPONENT = 'component: {id: writer, type: model, task: text-generation, model: acme/tiny, prompt: "${input.prompt}"}\n'

JOBS = {
    "weights of a uniform router": (
        "- {id: a, type: random-router, routings: [{to: b, weight: 2}, {to: c}]}",
        "4:55: `weight` means nothing with `mode: uniform`; write `mode: weighted`",
    ),
    "the same case twice": (
        "- {id: a, type: switch, input: '${input.x}', cases: [{value: 1, then: b}, {value: 1, then: c}]}",
        "4:87: the value `1` has a case already, so this one never counts",
    ),
    "the same case as a number and as text, but not as a boolean": (
        "- {id: a, type: switch, input: '${input.x}', cases: [{value: true, then: b}, {value: 1, then: b}, "
        "{value: '1', then: c}]}",
        "4:111: the value `1` has a case already, so this one never counts",
    ),
    "an `if` over everything": (
        "- {id: a, type: if, value: 1, if_true: b, if_false: c}",
        "4:7: without `input` this `if` compares everything that the workflow is given; write `input: ${input.NAME}`",
    ),
    "a `switch` over everything": (
        "- {id: a, type: switch, cases: [{value: 1, then: b}], otherwise: c}",
        "4:7: without `input` this `switch` compares everything that the workflow is given;"
        " write `input: ${input.NAME}`",
    ),
    "an `otherwise` that is never reached": (
        "- {id: a, type: if, input: '${input.x}', value: 1, if_true: b, if_false: c, otherwise: b}",
        "4:81: `otherwise` is never reached: a condition before it leads somewhere in both cases",
    ),
    "equal requests for all items": (
        "- {id: a, type: for-each, do: {input: {prompt: '${input.item}'}}}\n- {id: b}\n- {id: c}",
        "4:43: neither `item` nor `index` is read, so every item makes the same request;"
        " read `${item}`, or leave `input` out to pass the item on",
    ),
    "an input that the action does not read": (
        "- {id: a, type: for-each, do: {input: {promt: '${item}'}}}",
        "4:44: the action reads no input `promt`; did you mean `prompt`?",
    ),
}


@pytest.mark.parametrize(("jobs", "warning"), JOBS.values(), ids=JOBS)
def test_a_job_that_is_probably_a_mistake_is_named(tmp_path: Path, jobs: str, warning: str) -> None:
    lines = "\n".join(f"    {line}" for line in jobs.splitlines())
    others = "" if "id: b}" in jobs and "id: c}" in jobs else "    - {id: b}\n    - {id: c}\n"
    loaded = load(tmp_path, f"workflow:\n  title: x\n  jobs:\n{lines}\n{others}{COMPONENT}")
    assert loaded.warnings == (f"model-compose.yml:{warning}",)


def test_a_private_default_is_named(tmp_path: Path) -> None:
    workflows = "workflows:\n  - {id: main, private: true, default: true}\n  - {id: other, component: runner}\n"
    components = (
        COMPONENT.replace("component: {", "components:\n  - {") + "  - {id: runner, type: workflow, workflow: main}\n"
    )
    assert load(tmp_path, workflows.replace("true}", "true, component: writer}") + components).warnings == (
        "model-compose.yml:2:31: workflow `main` is private, so it is never the default",
    )


def test_what_nothing_reaches_is_named(tmp_path: Path) -> None:
    text = """
        workflows:
          - {id: main, component: writer, default: true}
          - {id: hidden, component: writer, private: true}
        components:
          - {id: writer, type: model, task: text-generation, model: acme/tiny}
          - {id: idle, type: workflow, workflow: main}
        """
    assert load(tmp_path, text).warnings == (
        "model-compose.yml:4:5: workflow `hidden` is private, and nothing in the file runs it",
        "model-compose.yml:7:5: no job asks component `idle`",
    )
