"""A start tells how far it is from how long the last one took, and nothing where that is not known."""

from pathlib import Path

import pytest

from services import start_record
from services.settings import TaskSettings
from services.start_record import StartRecord
from services.wire import Readiness

pytestmark = pytest.mark.unit

LOADING = Readiness("loading")


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(start_record, "time", clock)
    return clock


def settings(folder: Path, model: str = "m") -> TaskSettings:
    path = folder / "starts" / "chat.json"
    return TaskSettings(id="chat", task="chat-completion", model=model, model_path=folder, start_record=path)


def test_the_last_start_tells_how_far_the_next_one_is(tmp_path: Path, clock: Clock) -> None:
    first = StartRecord(settings(tmp_path))
    assert first.judge(LOADING) == LOADING
    clock.now_s += 4
    assert first.keep() == 4
    second = StartRecord(settings(tmp_path))
    assert second.judge(LOADING) == Readiness("loading", 0.0, 4.0)
    clock.now_s += 3
    assert second.judge(LOADING) == Readiness("loading", 0.75, 1.0)
    assert second.judge(Readiness("ready")) == Readiness("ready")
    clock.now_s += 2
    assert second.judge(LOADING) == Readiness("loading", 0.99)


def test_another_model_is_not_judged_by_it(tmp_path: Path) -> None:
    StartRecord(settings(tmp_path)).keep()
    assert StartRecord(settings(tmp_path, "other")).judge(LOADING) == LOADING


@pytest.mark.parametrize("text", ["", "[]", '{"seconds": 1}', '{"settings": 1, "seconds": "soon"}'])
def test_a_record_that_is_none_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "starts").mkdir()
    (tmp_path / "starts" / "chat.json").write_text(text)
    assert StartRecord(settings(tmp_path)).judge(LOADING) == LOADING


def test_without_a_place_nothing_is_kept(tmp_path: Path) -> None:
    StartRecord(settings(tmp_path).model_copy(update={"start_record": None})).keep()
    (tmp_path / "starts").write_text("no folder")
    assert StartRecord(settings(tmp_path)).keep() >= 0
