"""text-reranking over a real socket: scores equal to sentence-transformers' CrossEncoder, and every field."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.engine.failure import MODEL_UNFIT, LoadError
from tests.services.tasks.serving import TaskProcess, prepare, serve, settings_of

pytestmark = pytest.mark.server

QUERY = "How can I help you?"
DOCUMENTS = [
    "You are a helpful AI assistant.",
    "Once upon a time in a distant galaxy, a small robot learned to tell stories. " * 6,
    "Hello",
    "",
    "Hello",
]

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    from tests.encoders import make_encoder

    def make(kind: Any = "bert", **options: Any) -> Path:
        return make_encoder(kind, tmp_path_factory.mktemp("models") / kind, **options)

    return make


@pytest.fixture(scope="module")
def folder(make: Make) -> Path:
    return make(labels=1)


@pytest.fixture(scope="module")
def task(folder: Path) -> Iterator[TaskProcess]:
    with serve(settings_of(folder, "text-reranking")) as process:
        process.wait_ready()
        yield process


def scores_of(folder: Path) -> list[float]:
    """What sentence-transformers makes of the query with each document."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import CrossEncoder

        scores = CrossEncoder(str(folder), device="cpu", max_length=64).predict([(QUERY, text) for text in DOCUMENTS])
        return [float(score) for score in scores]


def ranking(scores: list[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: (-scores[index], index))


def test_scores_equal_the_cross_encoders(task: TaskProcess, folder: Path) -> None:
    done = task.done({"query": QUERY, "documents": DOCUMENTS})
    known = scores_of(folder)
    found = done["result"]
    assert [item["index"] for item in found] == ranking(known)
    assert [item["score"] for item in found] == pytest.approx(sorted(known, reverse=True), abs=1e-5)
    assert [item["document"] for item in found] == [DOCUMENTS[item["index"]] for item in found]
    (warning,) = done["warnings"]
    assert (warning["code"], warning["field"]) == ("input_truncated", "documents[1]")


def test_the_best_of_them(task: TaskProcess) -> None:
    every = task.done({"query": QUERY, "documents": DOCUMENTS})["result"]
    best = task.done({"query": QUERY, "documents": DOCUMENTS, "top_k": 2, "return_documents": False})["result"]
    assert best == [{"index": item["index"], "score": item["score"]} for item in every[:2]]
    threshold = every[2]["score"]
    kept = task.done({"query": QUERY, "documents": DOCUMENTS, "score_threshold": threshold})["result"]
    assert kept == [item for item in every if item["score"] >= threshold]
    assert task.done({"query": QUERY, "documents": []})["result"] == []


def test_documents_may_be_objects(task: TaskProcess) -> None:
    plain = task.done({"query": QUERY, "documents": DOCUMENTS})["result"]
    objects = [{"id": number, "body": text} for number, text in enumerate(DOCUMENTS)]
    found = task.done({"query": QUERY, "documents": objects, "document_field": "body"})["result"]
    assert [item["document"] for item in found] == [objects[item["index"]] for item in plain]
    assert [item["score"] for item in found] == [item["score"] for item in plain]


@pytest.mark.parametrize(
    ("documents", "more", "message", "field"),
    [
        (["a", {"body": "b"}], {}, '"documents[1]" is an object.', "documents[1]"),
        ([{"body": "b"}, {}], {"document_field": "body"}, '"body" of "documents[1]" is absent.', "documents[1]"),
        ([{"body": 3}], {"document_field": "body"}, '"body" of "documents[0]" is not text.', "documents[0]"),
        (["a", "\ud800"], {}, '"documents[1]" is not valid Unicode.', "documents[1]"),
        (None, {}, 'text-reranking needs "documents".', "documents"),
    ],
)
def test_bad_documents_are_named(
    task: TaskProcess, documents: Any, more: dict[str, Any], message: str, field: str
) -> None:
    status, error = task.refused({"query": QUERY, "documents": documents, **more})
    assert (status, error["message"], error["field"]) == (422, message, field)
    if "object" in message:
        assert error["hint"] == 'Say with "document_field" which key holds its text.'


def test_a_query_of_a_books_length_is_cut_once_for_all_documents(folder: Path) -> None:
    from transformers import AutoTokenizer

    from services.engine.loading.checkpoint import read_checkpoint
    from services.engine.loading.encoders import load_classifier
    from services.tasks.text_reranking import Task

    settings = settings_of(folder, "text-reranking")
    engine: Any = None
    task = Task(settings, engine)
    task.setup(load_classifier(settings, read_checkpoint(folder, settings.model)))
    query = f"{QUERY} " * 500
    prepared = prepare(task, {"query": query, "documents": DOCUMENTS})
    whole = AutoTokenizer.from_pretrained(folder)(
        [(query, text) for text in DOCUMENTS], truncation="longest_first", max_length=64
    )
    assert [list(item.ids) for item in prepared.request.inputs] == whole["input_ids"]
    assert [warning["field"] for warning in prepared.warnings] == ["query", "documents"]
    assert "and the model reads 64 of a query and a document together." in prepared.warnings[0]["message"]


def test_a_query_is_needed(task: TaskProcess) -> None:
    status, error = task.refused({"documents": DOCUMENTS})
    assert (status, error["message"]) == (422, 'text-reranking needs "query".')
    status, error = task.refused({"query": "\ud800", "documents": DOCUMENTS})
    assert (status, error["field"]) == (422, "query")


def test_a_model_that_names_its_activation(make: Make) -> None:
    folder = make("xlm-roberta", labels=1, sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"})
    assert _scores(folder) == pytest.approx(scores_of(folder), abs=1e-5)


def test_two_classes_are_no_and_yes(make: Make) -> None:
    import torch

    folder = make(labels=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import CrossEncoder

        logits = CrossEncoder(str(folder), device="cpu", max_length=64).predict([(QUERY, text) for text in DOCUMENTS])
    assert _scores(folder) == pytest.approx(torch.tensor(logits).softmax(dim=1)[:, 1].tolist(), abs=1e-5)


def test_models_without_one_score_are_refused(make: Make) -> None:
    with pytest.raises(LoadError) as caught:
        _scores(make(labels=3))
    assert caught.value.exit_code == MODEL_UNFIT
    assert caught.value.message == (
        "tiny/bert tells 3 classes apart, so it does not fit text-reranking, which wants one score"
    )
    with pytest.raises(LoadError, match="needs the activation Odd, which is not known"):
        _scores(make(labels=1, sbert_ce_default_activation_function="x.Odd"))


def _scores(folder: Path) -> list[float]:
    """The scores of the documents in their order, computed in this process."""
    import torch

    from services.engine.loading.checkpoint import read_checkpoint
    from services.engine.loading.encoders import load_classifier
    from services.tasks.text_reranking import Task

    settings = settings_of(folder, "text-reranking")
    engine: Any = None
    task = Task(settings, engine)
    encoder = load_classifier(settings, read_checkpoint(folder, "m"))
    task.setup(encoder)
    prepared = prepare(task, {"query": QUERY, "documents": DOCUMENTS})
    rows = []
    with torch.inference_mode():
        for item in prepared.request.inputs:
            types = {} if item.type_ids is None else {"token_type_ids": torch.tensor([item.type_ids])}
            rows.append(tuple(encoder.network(torch.tensor([item.ids]), **types).logits[0].tolist()))
    found = {answer["index"]: answer["score"] for answer in prepared.result(rows)}
    return [found[index] for index in range(len(DOCUMENTS))]
