"""What a file says of each task reaches its service and the router."""

import json
from pathlib import Path
from typing import Any

import pytest

from compose.loader import InvalidFile
from services.catalog import TASKS
from services.settings import TaskSettings
from tests.compose.loading import fields, load, models, plan

pytestmark = pytest.mark.unit


def component(task: str, *lines: str) -> str:
    return "\n".join(["component:", "  type: model", f"  task: {task}", "  model: acme/tiny", *lines])


@pytest.mark.parametrize("task", TASKS)
def test_a_component_of_any_task_is_a_whole_file(tmp_path: Path, task: str) -> None:
    loaded = load(tmp_path, component(task))
    assert loaded.warnings == ()
    assert fields(loaded) == TASKS[task].defaults
    (unit, *_) = plan(loaded).units
    settings = TaskSettings.model_validate_json(unit.settings)
    assert (settings.task, settings.labels) == (task, None)


@pytest.mark.parametrize(
    ("task", "lines", "expected"),
    [
        (
            "text-embedding",
            ["  params: {pooling: cls, normalize: 'false', batch_size: '8', max_input_length: 128}"],
            {
                "text": "${input.text}",
                "pooling": "cls",
                "normalize": False,
                "batch_size": 8,
                "max_input_length": 128,
            },
        ),
        ("text-embedding", ["  action: {text: [one, 2], pooling: max}"], {"text": ["one", "2"], "pooling": "max"}),
        (
            "text-reranking",
            ["  action:", "    document_field: body", "    params: {top_k: '3'}"],
            {"query": "${input.query}", "documents": "${input.documents}", "document_field": "body", "top_k": 3},
        ),
        (
            "text-reranking",
            ["  query: ${input.question}", "  documents: [first, '${input.second}']", "  score_threshold: -1"],
            {"query": "${input.question}", "documents": ["first", "${input.second}"], "score_threshold": -1.0},
        ),
        (
            "text-classification",
            ["  text: ${input.review as text}", "  params:", "    return_probabilities: true", "    streaming: false"],
            {"text": "${input.review as text}", "return_probabilities": True},
        ),
        (
            "translation",
            ["  text: 'translate to German: ${input.text}'", "  num_beams: 4"],
            {"text": "translate to German: ${input.text}", "num_beams": 4},
        ),
        (
            "text-generation",
            ["  return_full_text: false"],
            {"text": "${input.prompt as text}", "return_full_text": False},
        ),
        ("text-generation", ["  prompt: ${input.a}"], {"prompt": "${input.a}"}),
    ],
)
def test_fields_stand_on_the_action_or_under_params(
    tmp_path: Path, task: str, lines: list[str], expected: dict[str, Any]
) -> None:
    assert fields(load(tmp_path, component(task, *lines))) == expected


@pytest.mark.parametrize("written", ["[negative, neutral, 5]", "negative, neutral, 5", "${env.LABELS}"])
def test_labels_reach_the_service_in_their_order(tmp_path: Path, written: str) -> None:
    loaded = load(tmp_path, component("text-classification", f"  labels: {written}"), LABELS="negative, neutral, 5")
    (unit, *_) = plan(loaded).units
    assert json.loads(unit.settings)["labels"] == ["negative", "neutral", "5"]


def test_a_task_that_writes_streams_when_the_file_says_so(tmp_path: Path) -> None:
    loaded = load(tmp_path, component("summarization", "  streaming: true"))
    assert [action.streaming for action in models(loaded)[0].actions] == [True]


@pytest.mark.parametrize("streaming", ["true", "${input.stream}", "${env.STREAM}", "'TRUE'"])
def test_a_task_that_answers_at_once_does_not_stream(tmp_path: Path, streaming: str) -> None:
    with pytest.raises(InvalidFile, match="`text-embedding` answers all at once") as refused:
        load(tmp_path, component("text-embedding", f"  streaming: {streaming}"), STREAM="true")
    (problem,) = refused.value.problems
    assert (problem.mark.line, problem.hint) == (5, "leave `streaming` out")


@pytest.mark.parametrize("streaming", ["maybe", "[true]"])
def test_a_switch_that_is_none_is_told_once(tmp_path: Path, streaming: str) -> None:
    with pytest.raises(InvalidFile) as refused:
        load(tmp_path, component("text-embedding", f"  streaming: {streaming}"))
    assert len(refused.value.problems) == 1
