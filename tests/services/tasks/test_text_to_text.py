"""text-to-text, summarization and translation over a real socket say what `generate()` says."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.conftest import Tiny
from tests.services.tasks.conftest import Reference
from tests.services.tasks.serving import TaskProcess, serve, serve_each, settings_of

if TYPE_CHECKING:
    from tests.rewriters import Rewriter

pytestmark = pytest.mark.server

TEXTS = ["Good morning! How are you today?", "a", "Once upon a time in a distant galaxy, a small robot learned. " * 2]
FEW = {"max_output_length": 12}
T5_TASKS = {"summarization": {"prefix": "summarize: ", "max_length": 9, "min_length": 4, "num_beams": 2}}
"""What T5's config.json says of one task alone."""

TASKS: "dict[Rewriter, str]" = {"t5": "text-to-text", "bart": "summarization", "marian": "translation"}

Folders = Callable[["Rewriter"], Path]
Served = Callable[["Rewriter", str], TaskProcess]
Known = Callable[["Rewriter"], "Rewriting"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    from tests.rewriters import make_rewriter

    root = tmp_path_factory.mktemp("rewriters")
    own: dict[str, dict[str, Any]] = {"t5": {"task_specific_params": T5_TASKS}}
    return cache(lambda kind: make_rewriter(kind, root / kind, **own.get(kind, {})))


@pytest.fixture(scope="module")
def served(folders: Folders) -> Iterator[Served]:
    with serve_each(folders) as start:
        yield start


class Rewriting(Reference):
    """What the same model makes of a text through `generate()`."""

    def rewrite(self, text: str, **options: Any) -> str:
        return self.generate(self.tokenizer.encode(text), **options)


@pytest.fixture(scope="module")
def known(folders: Folders) -> Known:
    return cache(lambda kind: Rewriting(folders(kind)))


@pytest.mark.parametrize(("kind", "task"), TASKS.items())
@pytest.mark.parametrize("beams", [1, 3])
def test_the_answer_is_that_of_generate(served: Served, known: Known, kind: "Rewriter", task: str, beams: int) -> None:
    expected = [known(kind).rewrite(text, max_new_tokens=12, num_beams=beams, min_length=0) for text in TEXTS]
    assert len(set(expected)) == len(TEXTS)
    fields = {"text": TEXTS, "num_beams": beams, "min_output_length": 0, **FEW}
    assert served(kind, task).done(fields)["result"] == expected


@pytest.mark.parametrize("kind", ["bart", "marian"])
def test_what_the_repository_says_stands_when_the_action_is_silent(
    served: Served, known: Known, kind: "Rewriter"
) -> None:
    answer = served(kind, TASKS[kind]).done({"text": TEXTS[0]})
    assert answer["result"] == known(kind).rewrite(TEXTS[0])
    assert "seed" not in answer["usage"]


def test_a_task_of_its_own_in_config_json_sets_prefix_lengths_and_beams(served: Served, known: Known) -> None:
    options = {"max_length": 9, "min_length": 4, "num_beams": 2}
    expected = known("t5").rewrite("summarize: " + TEXTS[0], **options)
    assert served("t5", "summarization").done({"text": TEXTS[0]})["result"] == expected
    plain = known("t5").rewrite(TEXTS[0], max_new_tokens=12)
    assert served("t5", "text-to-text").done({"text": TEXTS[0], **FEW})["result"] == plain


@pytest.mark.parametrize("text", [TEXTS, TEXTS[0]])
def test_the_stream_joins_to_the_result_which_repeats_nothing(served: Served, text: Any) -> None:
    task = served("t5", "text-to-text")
    *deltas, done = task.frames({"text": text, **FEW})
    joined: dict[tuple[int, ...], str] = {}
    for delta in deltas:
        path = tuple(delta["path"])
        joined[path] = joined.get(path, "") + delta["text"]
    whole = {(index,): item for index, item in enumerate(done["result"])} if len(joined) > 1 else {(): done["result"]}
    assert joined == {path: item for path, item in whole.items() if item}
    assert done == task.done({"text": text, **FEW}, stream=False)


def test_whoever_names_a_spread_gets_a_sampled_answer_that_its_seed_repeats(served: Served) -> None:
    task = served("bart", "summarization")
    fields = {"text": TEXTS[2], "temperature": 1.5, "top_p": 1, "seed": 5, "min_output_length": 12, **FEW}
    first = task.done(fields)
    assert first["usage"]["seed"] == 5
    assert task.done(fields)["result"] == first["result"] != task.done({**fields, "seed": 6})["result"]


def test_an_input_that_is_too_long_loses_its_end_and_says_so(served: Served, known: Known) -> None:
    text = "stories " * 200
    reference = known("bart")
    ids = reference.tokenizer(text).input_ids
    answer = served("bart", "summarization").done({"text": text, "num_beams": 1, **FEW})
    assert [warning["code"] for warning in answer["warnings"]] == ["input_truncated"]
    assert f"The input has {len(ids)} tokens; only the first 128 were read." in answer["warnings"][0]["message"]
    assert answer["usage"]["prompt_tokens"] == 128
    shorter = served("t5", "text-to-text").done({"text": TEXTS[2], "max_input_length": 5, **FEW})
    assert shorter["usage"]["prompt_tokens"] == 5


def test_max_length_counts_what_the_decoder_writes(served: Served) -> None:
    answer = served("t5", "text-to-text").done({"text": TEXTS[2], "max_length": 7, "min_output_length": 6})
    assert answer["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({}, "missing_field", "text"),
        ({"text": "\ud800"}, "invalid_text", "text"),
        ({"text": "a", "num_return_sequences": 3}, "invalid_parameter", "num_return_sequences"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(served: Served, fields: Any, code: str, field: str) -> None:
    status, error = served("t5", "text-to-text").refused(fields)
    assert (status, error["code"], error["field"]) == (422, code, field)


def test_a_model_without_an_encoder_is_refused_with_the_task_that_it_fits(tiny: Tiny) -> None:
    with serve(settings_of(tiny("gpt2"), "translation")) as process:
        assert process.process.wait() == 78
        assert "tiny/gpt2 has no encoder, so it does not fit translation; use text-generation" in process.log
