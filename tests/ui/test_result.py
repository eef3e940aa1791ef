"""An answer as it comes: chunks by path, then the finished output, each shown by its type."""

from typing import Any

import pytest

from ui.client import Chunk, Finished
from ui.result import Answer, as_text, show, summary
from ui.schema import Output

pytestmark = pytest.mark.unit


def test_chunks_gather_under_the_output_that_their_path_begins_with() -> None:
    answer = Answer([Output(name="story"), Output(name="all"), Output(name="later"), Output(name="a.b[0]")])
    chunks = [
        ("One", "story"),
        ("b", "all[10].text"),
        (" two", "story"),
        ("a", "all[9].text"),
        ("c", "all[10].text"),
        ("d", '["a.b[0]"]["\\"x\\""].y'),
    ]
    for text, path in chunks:
        answer.take(Chunk(text, path))
    assert answer.values() == ["One two", [{"text": "a"}, {"text": "bc"}], None, {'"x"': {"y": "d"}}]
    assert answer.text() == "One two"
    assert answer.changed == 6


def test_a_path_that_nobody_could_have_sent_breaks_nothing() -> None:
    answer = Answer([Output(name="a"), Output()])
    for path in ["", "[", "]", "a", "a[99999999999]", "a.b", "a[0]", "..", '["', '["a"', "a[-1]", "é[0][0]"]:
        answer.take(Chunk("x", path))
    assert answer.values()[0] == "x"


def test_an_output_without_name_takes_everything() -> None:
    answer = Answer([Output()])
    answer.take(Chunk("One"))
    answer.take(Chunk(" two", None))
    assert answer.values() == ["One two"]
    parts = Answer([Output(type="list")])
    parts.take(Chunk("second", "[1]"))
    assert parts.values() == [["second"]]
    parts.take(Chunk("first", "[0]"))
    assert parts.values() == [["first", "second"]]
    answer.take(Finished(["One two", "three"]))
    assert answer.values() == [["One two", "three"]]
    assert answer.text() == "One two\n\nthree"


def test_the_finished_output_replaces_the_chunks() -> None:
    answer = Answer([Output(name="story"), Output(name="count", type="integer")])
    answer.take(Chunk("On", "story"))
    answer.take(Finished({"story": "One.", "count": 1}))
    assert answer.values() == ["One.", 1]


@pytest.mark.parametrize(
    ("type", "value", "expected"),
    [
        ("text", "<b>", "<b>"),
        ("text", None, ""),
        ("text", {"a": "é"}, '{\n  "a": "é"\n}'),
        ("markdown", "<b> **x**", "&lt;b> **x**"),
        ("boolean", True, "true"),
        ("json", {"a": 1}, '{"a": 1}'),
        ("json", "text", '"text"'),
        ("list", None, None),
        ("vector", [0.5, -1e-05], "[0.5, -1e-05]"),
        ("vector", None, ""),
        ("label", None, None),
        ("label", {"label": "good", "label_id": 0, "score": 0.75}, {"good": 0.75}),
        (
            "label",
            {"label": "good", "label_id": 1, "score": 0.75, "probabilities": [0.25, 0.75]},
            {"label_id 0": 0.25, "good": 0.75},
        ),
        ("label", [], "[]"),
        ("ranking", None, None),
        ("ranking", [], {"headers": ["#", "Score"], "data": []}),
        ("ranking", [{"index": 3, "score": 0.123456}], {"headers": ["#", "Score"], "data": [[3, "0.1235"]]}),
        (
            "ranking",
            [{"index": 3, "score": 7, "document": {"a": 1}}],
            {"headers": ["#", "Score", "Document"], "data": [[3, "7", '{\n  "a": 1\n}']]},
        ),
        ("ranking", [[]], {"headers": ["Value"], "data": [["[\n  []\n]"]]}),
        (
            "ranking",
            [{"index": 3, "score": None}],
            {"headers": ["Value"], "data": [['[\n  {\n    "index": 3,\n    "score": null\n  }\n]']]},
        ),
    ],
)
def test_values_are_shown_by_type(type: str, value: Any, expected: Any) -> None:  # noqa: A002 - the schema's own word
    assert show(Output(type=type), value) == expected


def test_lists_of_texts_stand_one_below_the_other() -> None:
    assert as_text(["one", "two"]) == "one\n\ntwo"
    assert as_text([]) == "[]"


def test_a_summary_names_the_tokens_that_were_made() -> None:
    assert summary(Finished("", {"completion_tokens": 12}), 1.234) == "Done in 1.2 s, 12 tokens."
    assert summary(Finished(""), 61) == "Done in 61.0 s."
