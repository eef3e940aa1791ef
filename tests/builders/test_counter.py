import threading
from dataclasses import dataclass, field

import pytest

from builders import counter
from builders.counter import Counter
from builders.spec import Built, BuiltLayer

pytestmark = pytest.mark.unit


@dataclass
class Told:
    steps: list[tuple[str, str, float | None]] = field(default_factory=list)

    def step(self, image: str, what: str, progress: float | None = None) -> None:
        self.steps.append((image, what, progress))

    def layer(self, image: str, built: BuiltLayer) -> None: ...

    def note(self, image: str, text: str) -> None: ...

    def built(self, image: Built) -> None: ...


def test_a_step_is_told_at_once_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "_BETWEEN_S", 0.0)
    told = Told()
    counting = Counter(told, "router", "reading", 100)
    for count in (25, 50, -50, 75, 10):
        counting.add(count)
    assert told.steps == [("router", "reading", part) for part in (0.0, 0.25, 0.75, 0.25, 1.0, 1.0)]


def test_without_a_total_there_is_no_progress() -> None:
    told = Told()
    counting = Counter(told, "", "reading")
    counting.add(10)
    counting.expect(20)
    assert told.steps == [("", "reading", None), ("", "reading", 0.5)]


def test_thousands_of_pieces_are_told_a_few_times_and_the_last_one_always() -> None:
    told = Told()
    counting = Counter(told, "", "reading", 40_000)

    def count() -> None:
        for _ in range(10_000):
            counting.add(1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told.steps) < 100
    assert told.steps[-1] == ("", "reading", 1.0)
