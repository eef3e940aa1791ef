"""A build that is ended at any moment leaves no name and nothing half made, and the next one goes on behind it."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.project import family, gone
from tests.e2e.workshop import Workshop, digests, layers

pytestmark = [pytest.mark.server, pytest.mark.timeout(1800)]

_END_S = 20.0


@pytest.fixture(scope="module")
def undisturbed(materials: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[float, dict[str, str]]:
    """Seconds that a build takes from an empty store, with all programs read, and the digests it ends with."""
    for name in ("first", "second"):
        workshop = Workshop.make(tmp_path_factory.mktemp(name), materials)
        started = time.monotonic()
        said = workshop.build("chat").stdout
    return time.monotonic() - started, digests(said)


def end(build: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send the signal, as a terminal sends Ctrl-C to all at once; what the build said, once nothing of it lives."""
    processes = family(build.pid)
    send = os.killpg if number == signal.SIGINT else os.kill
    if build.poll() is None:  # else it was faster than the undisturbed one
        send(build.pid, number)
    said, _ = build.communicate(timeout=_END_S)
    assert gone(processes, _END_S)
    return said


@pytest.mark.parametrize("moments", [6, pytest.param(30, marks=pytest.mark.soak)])
def test_a_killed_build_leaves_nothing_half_made_and_is_gone_on_with(
    materials: Path, tmp_path: Path, undisturbed: tuple[float, dict[str, str]], moments: int
) -> None:
    took_s, wanted = undisturbed
    found = []
    for moment in range(1, moments + 1):
        workshop = Workshop.make(tmp_path / str(moment), materials)
        build = workshop.start("chat")
        with contextlib.suppress(subprocess.TimeoutExpired):
            build.wait(timeout=took_s * moment / (moments + 1))
        made = layers(end(build, signal.SIGKILL))
        named = workshop.names()
        assert workshop.damaged() == []
        ended = workshop.build("chat")
        if named:  # it was done, and about to leave
            assert {verdict for _, verdict in layers(ended.stderr)} == {"reused"}
            break
        assert (digests(ended.stdout), workshop.damaged(), workshop.leftovers()) == (wanted, [], [])
        reused = [purpose for purpose, verdict in layers(ended.stderr) if verdict == "reused"]
        assert reused[: len(made)] == [purpose for purpose, _ in made]
        found.append(len(made))
    assert max(found) > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", ["choosing the packages", "its Bento"])
def test_a_build_that_is_told_to_end_says_that_the_next_one_goes_on(
    materials: Path, tmp_path: Path, number: signal.Signals, step: str
) -> None:
    workshop = Workshop.make(tmp_path, materials)
    build = workshop.start("chat")
    assert build.stdout is not None
    said = ""
    while step not in said:
        said = build.stdout.readline()
        assert said, "it ended before"
    said = end(build, number)
    assert build.returncode == 130
    assert said.splitlines()[-2:] == [
        "error: the build was ended before it was done",
        "hint: the next one goes on behind the last whole layer",
    ]
    assert (workshop.names(), workshop.damaged(), workshop.leftovers()) == ([], [], [])
