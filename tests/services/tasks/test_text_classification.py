"""text-classification over a real socket: labels and scores equal to transformers' pipeline."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from services.engine.failure import MODEL_UNFIT
from tests.services.tasks.serving import TaskProcess, prepare, serve, settings_of

pytestmark = pytest.mark.server

TEXTS = ["Hello robot", "a", "Good morning! How are you today? " * 12, "def hello_world(name): return name", ""]
NAMES = {"id2label": {"0": "calm", "1": "glad", "2": "sad"}}

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    from tests.encoders import make_encoder

    def make(kind: Any = "bert", **options: Any) -> Path:
        return make_encoder(kind, tmp_path_factory.mktemp("models") / kind, **options)

    return make


@pytest.fixture(scope="module")
def folder(make: Make) -> Path:
    return make(labels=3, **NAMES)


@pytest.fixture(scope="module")
def task(folder: Path) -> Iterator[TaskProcess]:
    with ExitStack() as stack:
        process = stack.enter_context(serve(settings_of(folder, "text-classification")))
        process.wait_ready()
        yield process


def scores_of(folder: Path, texts: list[str]) -> list[dict[str, float]]:
    """What transformers' pipeline says of each text, one at a time."""
    import transformers

    pipe = transformers.pipeline("text-classification", str(folder), device="cpu")
    found = [pipe(text, top_k=None, truncation=True, max_length=64) for text in texts]
    return [{item["label"]: item["score"] for item in items} for items in found]


def test_scores_equal_the_pipelines(task: TaskProcess, folder: Path) -> None:
    done = task.done({"text": TEXTS, "return_probabilities": True})
    for answer, known in zip(done["result"], scores_of(folder, TEXTS), strict=True):
        names = list(NAMES["id2label"].values())
        assert answer["probabilities"] == pytest.approx([known[name] for name in names], abs=1e-5)
        best = max(known, key=lambda name: known[name])
        assert (answer["label"], answer["label_id"]) == (best, names.index(best))
        assert answer["score"] == answer["probabilities"][answer["label_id"]]
    assert [warning["field"] for warning in done["warnings"]] == ["text[2]"]


def test_one_text_gives_one_answer(task: TaskProcess) -> None:
    one = task.done({"text": "Hello robot"})["result"]
    assert set(one) == {"label", "label_id", "score"}
    assert task.done({"text": ["Hello robot"]})["result"] == [one]
    assert task.done({"text": []})["result"] == []


@pytest.mark.parametrize(
    ("labels", "config"),
    [
        (3, {"problem_type": "multi_label_classification"}),
        (1, {}),
        (1, {"problem_type": "regression"}),
    ],
)
def test_other_kinds_of_heads_equal_the_pipeline(make: Make, labels: int, config: dict[str, Any]) -> None:
    from services.tasks.text_classification import Task

    folder = make("distilbert", labels=labels, **config)
    expected = [list(scores.values()) for scores in scores_of(folder, TEXTS)]
    found = _answers(Task, folder, TEXTS)
    for answer, scores in zip(found, expected, strict=True):
        assert sorted(answer["probabilities"]) == pytest.approx(sorted(scores), abs=1e-5)


def _answers(task_class: Any, folder: Path, texts: list[str]) -> list[dict[str, Any]]:
    """The task's answers, computed in this process."""
    import torch

    from services.engine.loading.checkpoint import read_checkpoint
    from services.engine.loading.encoders import load_classifier

    settings = settings_of(folder, "text-classification")
    task = task_class(settings, None)
    encoder = load_classifier(settings, read_checkpoint(folder, "m"))
    task.setup(encoder)
    prepared = prepare(task, {"text": texts, "return_probabilities": True})
    with torch.inference_mode():
        logits = [encoder.network(torch.tensor([item.ids])).logits[0].tolist() for item in prepared.request.inputs]
    answers: list[dict[str, Any]] = prepared.result(logits)
    return answers


def test_labels_of_the_file_replace_the_repositorys(folder: Path, task: TaskProcess) -> None:
    known = task.done({"text": TEXTS})["result"]
    with serve(settings_of(folder, "text-classification", labels=("A", "B", "C"))) as renamed:
        renamed.wait_ready()
        found = renamed.done({"text": TEXTS})["result"]
    assert [answer["label_id"] for answer in found] == [answer["label_id"] for answer in known]
    assert [answer["label"] for answer in found] == ["ABC"[answer["label_id"]] for answer in known]


def test_a_wrong_number_of_labels_ends_the_start(folder: Path) -> None:
    with serve(settings_of(folder, "text-classification", labels=("A", "B"))) as task:
        assert task.process.wait(60) == MODEL_UNFIT
        assert "`labels` names 2 classes, and tiny/bert has 3" in task.log


def test_missing_text(task: TaskProcess) -> None:
    status, error = task.refused({})
    assert (status, error["message"]) == (422, 'text-classification needs "text".')
