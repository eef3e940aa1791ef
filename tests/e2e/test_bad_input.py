"""Whatever is sent to a task through the router is answered, or refused by name in a sentence; the model lives on."""

import json
from typing import Any

import pytest

from tests.e2e.project import Project

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

FILE = """\
components:
  - id: rewrite
    type: model
    task: text-to-text
    model: google/flan-t5-small
    action: {text: "${input.text}", params: {max_output_length: "${input.length | 4}"}}
  - id: embed
    type: model
    task: text-embedding
    model: sentence-transformers/all-MiniLM-L6-v2
    action: {text: "${input.text}", pooling: "${input.pooling}", max_input_length: "${input.length}"}
  - id: classify
    type: model
    task: text-classification
    model: distilbert/distilbert-base-uncased-finetuned-sst-2-english
    params: {return_probabilities: "${input.all}"}
  - id: rank
    type: model
    task: text-reranking
    model: cross-encoder/ms-marco-MiniLM-L6-v2
    params: {top_k: "${input.most}", score_threshold: "${input.least}", document_field: "${input.key}"}
workflows:
  - {id: rewrite, component: rewrite}
  - {id: embed, component: embed}
  - {id: classify, component: classify}
  - {id: rank, component: rank}
"""
INVALID = (422, "invalid_parameter")
FINE: dict[str, dict[str, Any]] = {
    "rewrite": {"text": "hello"},
    "embed": {"text": "hello"},
    "classify": {"text": "hello"},
    "rank": {"query": "hello", "documents": ["one", "two"]},
}
BAD_TEXTS: list[tuple[Any, tuple[int, str], str | None]] = [
    (None, (422, "missing_input"), "text"),
    ({"a": 1}, INVALID, "text"),
    (["a", None], INVALID, "text"),
    ([["a"]], INVALID, "text"),
    ("half \ud800", (400, "invalid_json"), None),
    (["a"] * 100_001, (413, "body_too_wide"), None),
]
BAD: list[tuple[str, dict[str, Any], tuple[int, str], str | None]] = [
    *(
        (task, {"text": text}, refusal, field)
        for task in ("rewrite", "embed", "classify")
        for text, refusal, field in BAD_TEXTS
    ),
    ("rewrite", {"length": "many"}, INVALID, "max_output_length"),
    ("rewrite", {"length": 0}, INVALID, "max_output_length"),
    ("embed", {"pooling": "sum"}, INVALID, "pooling"),
    ("embed", {"pooling": ["mean"]}, INVALID, "pooling"),
    ("embed", {"length": -1}, INVALID, "max_input_length"),
    ("classify", {"all": "perhaps"}, INVALID, "return_probabilities"),
    ("rank", {"query": ["hello"]}, INVALID, "query"),
    ("rank", {"documents": None}, (422, "missing_input"), "documents"),
    ("rank", {"documents": "one"}, INVALID, "documents"),
    ("rank", {"documents": {"a": "b"}}, INVALID, "documents"),
    ("rank", {"documents": ["one", None]}, INVALID, "documents"),
    ("rank", {"documents": ["one", {"text": "two"}]}, (422, "invalid_document"), "documents[1]"),
    ("rank", {"documents": [{"text": "two"}], "key": "body"}, (422, "invalid_document"), "documents[0]"),
    ("rank", {"documents": [{"body": ["two"]}], "key": "body"}, (422, "invalid_document"), "documents[0]"),
    ("rank", {"documents": ["\udfff"]}, (400, "invalid_json"), None),
    ("rank", {"most": "1.5"}, INVALID, "top_k"),
    ("rank", {"most": 0}, INVALID, "top_k"),
    ("rank", {"least": "nan"}, INVALID, "score_threshold"),
]
ODD: list[tuple[str, dict[str, Any], int]] = [
    ("rewrite", {"text": []}, 0),
    ("rewrite", {"text": ["", 7, True]}, 3),
    ("embed", {"text": []}, 0),
    ("embed", {"text": ["", " ", "\0"]}, 3),
    ("classify", {"text": ["word " * 10_000] * 2}, 2),
    ("rank", {"documents": []}, 0),
    ("rank", {"documents": '["one", "two"]', "most": "1"}, 1),
    ("rank", {"documents": [7, {"body": "two"}], "key": "body", "least": "-5"}, 2),
    ("rank", {"query": "word " * 10_000, "documents": ["one"] * 1000}, 1000),
]
"""What is unusual and right, and how long the list is that comes."""


def test_bad_input_is_refused_by_name_and_the_models_live_on(project: Project) -> None:
    project.write(project.with_controller(FILE))
    with project.running():
        expected = {task: project.run(given, workflow_id=task).body["output"] for task, given in FINE.items()}
        for task, changes, refusal, field in BAD:
            answer = project.run({**FINE[task], **changes}, workflow_id=task)
            case = f"{task} with {str(changes)[:80]}: {str(answer.body)[:400]}"
            error = answer.body["error"]
            assert (answer.status, error["code"], error.get("field")) == (*refusal, field), case
            assert error["message"].endswith("."), case
            assert len(error["message"]) < 300, case
        for task, changes, length in ODD:
            answer = project.run({**FINE[task], **changes}, workflow_id=task)
            assert (answer.status, len(answer.body.get("output") or [])) == (200, length), (task, str(changes)[:80])
        again = {task: project.run(given, workflow_id=task).body["output"] for task, given in FINE.items()}
        assert again == expected
        services = json.loads(project.command("ps", "--json").stdout)["services"]
    assert {service["restarts"] for service in services} == {0}
