"""Locks let in whom they should, and tell who waits."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from infra.locks import not_alone, only_one

pytestmark = pytest.mark.unit

Lock = Callable[..., AbstractContextManager[None]]


@pytest.mark.parametrize(("first", "second"), [(only_one, only_one), (only_one, not_alone), (not_alone, only_one)])
def test_a_lock_lets_one_in_at_a_time(first: Lock, second: Lock, tmp_path: Path) -> None:
    path = tmp_path / "locks" / "x.lock"
    waiting, entered = threading.Event(), threading.Event()

    def enter() -> None:
        with second(path, waiting.set):
            entered.set()

    other = threading.Thread(target=enter)
    with first(path):
        other.start()
        assert waiting.wait(10)
        assert not entered.wait(0.1)
    assert entered.wait(10)
    other.join()


def test_those_that_need_not_be_alone_do_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with not_alone(path), not_alone(path, lambda: pytest.fail("waits")):
        pass
