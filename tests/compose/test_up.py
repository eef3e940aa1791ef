"""The line that `up` offers to copy asks the first workflow for something that it can answer."""

from typing import Any

import pytest

from compose.commands.up import run_arguments

pytestmark = pytest.mark.unit


def field(name: str, kind: str = "text", **parts: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "required": False, "default": None, **parts}


def workflow(*inputs: dict[str, Any]) -> dict[str, Any]:
    return {"workflow_id": "story", "input": list(inputs)}


@pytest.mark.parametrize(
    ("inputs", "arguments"),
    [
        ([], []),
        ([field("place", default="by the sea")], []),
        (
            [field("kind", "select", default="fact", options=["fact"]), field("topic")],
            ["--input", '{"topic": "Hello"}'],
        ),
        (
            [field("a"), field("b", required=True), field("c", "list", required=True)],
            ["--input", '{"b": "Hello", "c": ["Hello"]}'],
        ),
        ([field("mood", "select", required=True, options=["calm", "wild"])], ["--input", '{"mood": "calm"}']),
    ],
)
def test_only_inputs_without_which_nothing_comes_are_given(inputs: list[dict[str, Any]], arguments: list[str]) -> None:
    assert run_arguments([workflow(*inputs)]) == arguments


def test_of_several_workflows_the_first_is_named() -> None:
    assert run_arguments([workflow(), workflow()]) == ["story"]
