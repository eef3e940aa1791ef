"""Log files: what goes in comes out, however it arrives and however much it is."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.logs import LineSplitter, LogFile, follow, services_with_logs, tail

pytestmark = pytest.mark.unit


def split(*pieces: bytes) -> list[str]:
    splitter = LineSplitter()
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.close()


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_lines_do_not_depend_on_how_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    assert split(*pieces) == split(data)


def test_a_character_that_arrives_in_two_pieces_is_whole() -> None:
    assert split("é".encode()[:1], "é\n".encode()[1:]) == ["é"]


def test_a_line_that_is_rewritten_shows_its_last_state() -> None:
    assert split(b" 10%\r 50%\r100%\r\nnext\r\n") == ["100%", "next"]


def test_nothing_can_move_the_cursor_of_a_terminal() -> None:
    assert split(b"\x1b[2Ja\x1b[31mred\x1b[0m\x07\x00\ttab\n") == ["ared\ttab"]


def test_a_line_without_end_is_cut_and_takes_no_memory() -> None:
    assert split(*[b"x" * 5_000] * 20, b"\nshort") == ["x" * 8_192 + " ... (cut)", "short"]


Open = Callable[..., LogFile]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Open]:
    """Opens logs in the test's folder, and closes them after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda name, **options: stack.enter_context(
            contextlib.closing(LogFile(tmp_path / f"{name}.log", **options))
        )


def texts(folder: Path, count: int | None = None) -> list[str]:
    return [line.text for line in tail(folder, ["chat"], count)]


def test_logs_rotate_and_three_files_are_kept(tmp_path: Path, log: Open) -> None:
    chat = log("chat", max_bytes=200)
    for number in range(40):
        chat.write(f"line {number}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chat.log", "chat.log.1", "chat.log.2"]
    assert all(path.stat().st_size <= 200 for path in tmp_path.iterdir())
    assert texts(tmp_path) == [f"line {number}" for number in range(40 - len(texts(tmp_path)), 40)]
    assert len(texts(tmp_path)) > 10


def test_the_tail_is_the_end_of_each_log_over_rotations(tmp_path: Path, log: Open) -> None:
    chat = log("chat", max_bytes=200)
    for number in range(12):
        chat.write(str(number))
    assert texts(tmp_path, 8) == ["4", "5", "6", "7", "8", "9", "10", "11"]
    assert texts(tmp_path, 0) == []


def test_lines_of_several_services_are_merged_by_time(tmp_path: Path, log: Open) -> None:
    first, second = log("a"), log("b")
    for file, text in ((first, "1"), (second, "2"), (first, "3")):
        file.write(text)
    assert [(line.service, line.text) for line in tail(tmp_path, ["a", "b"], None)] == [
        ("a", "1"),
        ("b", "2"),
        ("a", "3"),
    ]
    assert services_with_logs(tmp_path) == ["a", "b"]


def test_following_loses_nothing_over_a_rotation_and_repeats_nothing(tmp_path: Path, log: Open) -> None:
    chat = log("chat", max_bytes=200)
    chat.write("before")
    lines = follow(tmp_path, ["chat"], None)
    seen = [next(lines)]
    for number in range(12):
        chat.write(str(number))
        seen.append(next(lines))
    assert next(lines) is None
    assert [line.text for line in seen if line] == ["before", *map(str, range(12))]


def test_a_log_that_begins_later_is_followed(tmp_path: Path, log: Open) -> None:
    lines = follow(tmp_path, ["chat"], 10)
    assert next(lines) is None
    log("chat").write("first")
    assert [line.text for line in [next(lines)] if line] == ["first"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    log = LogFile(Path("/dev/full"))
    log.write("lost")
    log.close()
