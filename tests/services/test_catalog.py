"""Fields accept text that reads as their type, and refuse the rest with a phrase."""

import math
from typing import Any

import pytest

from services.catalog import TASKS

pytestmark = pytest.mark.unit

CHAT = TASKS["chat-completion"]
TEXT = TASKS["text-generation"]


@pytest.mark.parametrize(
    ("name", "value", "coerced"),
    [
        ("temperature", "0.7", 0.7),
        ("temperature", 1, 1.0),
        ("top_k", "50", 50),
        ("top_k", 5.0, 5),
        ("do_sample", "False", False),
        ("stop_sequences", "END", ["END"]),
        ("seed", "random", "random"),
        ("seed", "7", 7),
        ("early_stopping", "never", "never"),
        ("messages", {"role": "user", "content": 5}, [{"role": "user", "content": "5"}]),
    ],
)
def test_text_that_reads_as_the_type_is_accepted(name: str, value: Any, coerced: Any) -> None:
    field = CHAT.field(name)
    assert field is not None
    assert field.coerce(value) == coerced


@pytest.mark.parametrize(
    ("name", "value", "phrase"),
    [
        ("temperature", "warm", "must be a number, not 'warm'"),
        ("temperature", True, "must be a number, not true or false"),
        ("temperature", 10**400, "must be a number of reasonable size"),
        ("temperature", math.nan, "must be a finite number"),
        ("temperature", -1, "must be at least 0, not -1"),
        ("top_p", 0, "must be above 0, not 0"),
        ("max_output_length", 2**31, "must be at most 2147483647, not 2147483648"),
        ("repetition_penalty", 1e-300, "must be at least 0.01, not 1e-300"),
        ("length_penalty", 1000, "must be at most 5, not 1000"),
        ("top_p", 1.5, "must be at most 1, not 1.5"),
        ("top_k", 1.5, "must be a whole number, not 1.5"),
        ("top_k", None, "must be a whole number, not nothing"),
        ("do_sample", "yes", "must be true or false, not 'yes'"),
        ("num_beams", "many", "must be a whole number, not 'many'"),
        ("messages", [], "must hold at least one message"),
        ("messages", "Hello", "must be messages of role and content, not text"),
        (
            "messages",
            {"role": "robot", "content": ""},
            "has a message whose role is not one of system, user, assistant",
        ),
        ("messages", {"role": "user"}, "has a user message without content"),
        ("messages", {"role": "user", "content": "", "name": "x"}, "has a message with an unknown key 'name'"),
    ],
)
def test_anything_else_is_refused_with_a_phrase(name: str, value: Any, phrase: str) -> None:
    field = CHAT.field(name)
    assert field is not None
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  (the whole phrase is compared below)
        field.coerce(value)
    assert str(refusal.value) == phrase


def test_a_list_of_prompts_stays_a_list() -> None:
    assert TEXT.fields["text"].coerce(["a", 1]) == ["a", "1"]


@pytest.mark.parametrize(
    ("value", "documents"),
    [
        ([], []),
        (["a", 1, True, {"body": "b", "page": 3}], ["a", "1", "true", {"body": "b", "page": 3}]),
        ('["a", {"body": "b"}]', ["a", {"body": "b"}]),
    ],
)
def test_documents_are_texts_or_objects(value: Any, documents: Any) -> None:
    assert TASKS["text-reranking"].fields["documents"].coerce(value) == documents


@pytest.mark.parametrize(
    ("task", "name", "value", "phrase"),
    [
        ("text-reranking", "documents", "a text", "must be a list of texts or of objects, not text"),
        ("text-reranking", "documents", '{"a": 1}', "must be a list of texts or of objects, not an object"),
        ("text-reranking", "documents", "[" * 100_000, "must be a list of texts or of objects, not text"),
        ("text-reranking", "documents", 7, "must be a list of texts or of objects, not a number"),
        ("text-reranking", "documents", ["a", None], "must hold texts or objects only, and [1] is nothing"),
        ("text-reranking", "documents", [["a"]], "must hold texts or objects only, and [0] is a list"),
        ("text-reranking", "top_k", 0, "must be at least 1, not 0"),
        ("text-reranking", "score_threshold", "high", "must be a number, not 'high'"),
        ("text-embedding", "pooling", "meam", "must be one of mean, cls, max, not 'meam'"),
        ("text-embedding", "pooling", ["mean"], "must be one of mean, cls, max, not a list"),
        ("text-embedding", "text", ["a", None], "must hold texts only, and [1] is nothing"),
        ("translation", "stop_sequences", ["a", {}], "must hold texts only, and [1] is an object"),
        ("text-embedding", "normalize", 1, "must be true or false"),
        ("text-classification", "batch_size", "0", "must be at least 1, not 0"),
    ],
)
def test_what_a_task_cannot_take_is_refused_with_a_phrase(task: str, name: str, value: Any, phrase: str) -> None:
    field = TASKS[task].field(name)
    assert field is not None
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  (the whole phrase is compared below)
        field.coerce(value)
    assert str(refusal.value) == phrase


def test_only_what_writes_streams_and_every_parameter_has_one_reader() -> None:
    assert [name for name, task in TASKS.items() if not task.streams] == [
        "text-embedding",
        "text-classification",
        "text-reranking",
    ]
    for name, task in TASKS.items():
        assert task.name == name
        assert not task.fields.keys() & task.parameters.keys()
        assert task.defaults.keys() <= task.fields.keys()
        assert {part.flag for part in task.parts.values() if part.flag} <= task.parameters.keys()
