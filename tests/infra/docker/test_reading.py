"""Each line of a container's output is told once, whatever breaks in between."""

from pathlib import Path

import pytest

from infra.docker.reading import Reading

pytestmark = pytest.mark.unit

LINES = [(f"2026-01-01T00:00:0{second}.00000000{second}Z", f"line {second}\r{second} %") for second in range(5)]
OUTPUT = "".join(f"{stamp} {text}\n" for stamp, text in LINES).encode()
PLAIN = "".join(f"{text}\n" for _, text in LINES).encode()


def test_lines_of_two_streams_come_out_of_order_and_all_are_told(tmp_path: Path) -> None:
    reading = Reading(tmp_path / "read", resume=False)
    (early, _), (late, _) = LINES[:2]
    assert reading.feed(f"{late} out\n{early} err\n".encode()) == b"out\nerr\n"
    assert reading.since_s == pytest.approx(1767225601 - 0.001, abs=1e-5)
    reading.begin()
    assert reading.feed(f"{late} out\n{early} err\n".encode()) == b""
    reading.close()


@pytest.mark.parametrize("size", [1, 7, 31, 1000])
def test_stamps_go_wherever_pieces_are_cut(tmp_path: Path, size: int) -> None:
    reading = Reading(tmp_path / "read", resume=False)
    pieces = (OUTPUT[start : start + size] for start in range(0, len(OUTPUT), size))
    assert b"".join(map(reading.feed, pieces)) == PLAIN
    reading.close()


def test_a_last_line_without_an_end_is_told_once(tmp_path: Path) -> None:
    reading = Reading(tmp_path / "read", resume=False)
    assert reading.feed(OUTPUT[:-1]) == PLAIN[:-1]
    reading.end()
    reading.begin()
    assert reading.feed(OUTPUT[:-1]) == b""
    reading.close()


def test_what_was_read_is_left_out_also_by_the_next_reader(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "read"
    first = Reading(path, resume=False)
    assert first.since_s is None
    half = OUTPUT.index(b"line 2")
    assert first.feed(OUTPUT[: half + 3]) == PLAIN[: PLAIN.index(b"line 2") + 3]
    first.save()
    first.close()
    second = Reading(path, resume=True)
    assert second.since_s == pytest.approx(1767225601 - 0.001, abs=1e-5)
    assert second.feed(OUTPUT) == PLAIN[PLAIN.index(b"line 2") :]
    second.begin()
    assert second.feed(OUTPUT) == b""
    second.close()
    assert path.read_text() == LINES[1][0]
    third = Reading(path, resume=False)
    assert third.since_s is None
    third.close()
