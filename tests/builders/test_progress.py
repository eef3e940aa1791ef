"""What a long step prints while it works."""

import io
import json

import pytest

from builders.progress import Progress, print_error
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed, in the only element."""
    now = [100.0]
    monkeypatch.setattr("builders.progress.time.monotonic", lambda: now[0])
    return now


def test_lines_say_how_far_it_is_and_how_long_it_takes(clock: list[float]) -> None:
    output = io.StringIO()
    progress = Progress(output)
    progress.begin("downloading", 1000, 200)
    clock[0] += 4
    progress.add(400)
    assert progress.snapshot() == {
        "stage": "downloading",
        "bytes": 600,
        "total_bytes": 1000,
        "progress": 0.6,
        "seconds_left": 4,
    }
    progress.begin("loading")
    assert [json.loads(line) for line in output.getvalue().splitlines()] == [
        {"stage": "downloading", "bytes": 0},
        {"stage": "downloading", "bytes": 200, "total_bytes": 1000, "progress": 0.2},
        {"stage": "loading", "bytes": 0},
    ]


def test_bytes_that_were_useless_do_not_count(clock: list[float]) -> None:
    progress = Progress(io.StringIO())
    progress.begin("downloading", 1000)
    progress.add(1000)
    progress.add(-1500)
    clock[0] += 4
    assert progress.snapshot() == {"stage": "downloading", "bytes": 0, "total_bytes": 1000, "progress": 0.0}


def test_leaving_prints_the_last_state() -> None:
    output = io.StringIO()
    with Progress(output) as progress:
        progress.begin("downloading", 10)
        progress.add(10)
    assert json.loads(output.getvalue().splitlines()[-1])["progress"] == 1.0


def test_an_error_is_one_line_with_a_hint() -> None:
    output = io.StringIO()
    print_error(UserError("Größe falsch.", hint="Again.", exit_code=ExitCode.ENVIRONMENT), output)
    assert output.getvalue() == '{"error": {"message": "Größe falsch.", "hint": "Again."}}\n'
