"""Log lines as text and as JSON, their level, and a process that goes on when nobody reads them."""

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from services import logs

pytestmark = pytest.mark.unit

FIELDS = {"run_id": "01J", "workflow": 'my "own" one', "duration_s": 0.5, "empty": ""}


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, kept = logging.getLogger(), logging.getLogger().handlers[:]
    levels = {name: logging.getLogger(name).level for name in ("services", "ui", None)}
    yield
    logging.basicConfig(handlers=kept, force=True)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    assert root.handlers == kept


def written(environ: dict[str, str], *lines: tuple[str, int, str, dict[str, Any] | None]) -> list[str]:
    """What these lines (logger, level, message, fields) become."""
    stream = io.StringIO()
    logs.configure(environ, stream)
    for name, level, message, fields in lines:
        logging.getLogger(name).log(level, message, extra={} if fields is None else {"fields": fields})
    for handler in logging.getLogger().handlers:
        handler.close()
    return stream.getvalue().splitlines()


def test_text_puts_the_fields_behind_the_message() -> None:
    lines = written({}, ("services.x", logging.INFO, "run ended", FIELDS), ("services.x", logging.INFO, "plain", None))
    assert lines == [r'run ended run_id=01J workflow="my \"own\" one" duration_s=0.5 empty=""', "plain"]


def test_no_value_can_begin_a_line_or_steer_a_terminal() -> None:
    (line,) = written(
        {}, ("services.x", logging.INFO, "run ended", {"a": "x\nrun ended", "b": "\x1b[31m", "c": "\x9b2J"})
    )
    assert line == r'run ended a="x\nrun ended" b="\u001b[31m" c="\u009b2J"'


def test_json_has_one_object_a_line() -> None:
    (line,) = written({logs.FORMAT: "json"}, ("services.x", logging.WARNING, "two\nlines", FIELDS))
    found = json.loads(line)
    assert datetime.fromisoformat(found.pop("time")).utcoffset() is not None
    assert found == {"level": "warning", "logger": "services.x", "message": "two\nlines", **FIELDS}


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_has_its_trace_in_the_log(form: str) -> None:
    stream = io.StringIO()
    logs.configure({logs.FORMAT: form}, stream)
    try:
        raise ZeroDivisionError("the reason")
    except ZeroDivisionError:
        logging.getLogger("services.x").exception("it failed", extra={"fields": {"run_id": "01J"}})
    logging.getLogger().handlers[0].close()
    text = stream.getvalue()
    if form == "json":
        assert "ZeroDivisionError: the reason" in json.loads(text)["exception"]
    else:
        assert text.startswith("it failed run_id=01J\nTraceback")
        assert text.endswith("ZeroDivisionError: the reason\n")


@pytest.mark.parametrize(
    ("level", "shown"),
    [(None, "iwe"), ("debug", "diwe"), ("INFO", "iwe"), ("warning", "we"), ("error", "e")],
)
def test_the_level_decides_what_is_written(level: str | None, shown: str) -> None:
    every = [
        ("services.x", number, word, None)
        for word, number in {"d": logging.DEBUG, "i": logging.INFO, "w": logging.WARNING, "e": logging.ERROR}.items()
    ]
    assert "".join(written({} if level is None else {logs.LEVEL: level}, *every)) == shown


def test_of_other_libraries_only_warnings_are_written() -> None:
    lines = written(
        {logs.LEVEL: "debug"}, ("httpx", logging.INFO, "chatter", None), ("x", logging.WARNING, "bad", None)
    )
    assert lines == ["bad"]


def test_settings_that_do_not_exist_are_told_and_passed_over() -> None:
    lines = written({logs.FORMAT: "xml", logs.LEVEL: "loud"}, ("services.x", logging.INFO, "said", None))
    assert lines == [
        "MODEL_COMPOSE_LOG_FORMAT is text or json, not 'xml'; the log is text",
        "MODEL_COMPOSE_LOG_LEVEL is one of debug, info, warning, error, not 'loud'; it is info",
        "said",
    ]


def test_a_line_that_cannot_be_formatted_fails_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise ValueError

    lines = written({}, ("services.x", logging.INFO, "before", {"x": Unspeakable()}), ("services", 20, "after", None))
    assert lines == ["after"]
    assert "Logging error" in capsys.readouterr().err


def test_a_reader_that_does_not_read_stops_nobody() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123  # descriptors
        logs.configure({}, stream)
        log = logging.getLogger("services.x")
        began = time.perf_counter()
        for _ in range(logs.MOST_WAITING * 2):
            log.info("a line of the log, which is of a usual length, and which nobody reads")
        assert time.perf_counter() - began < 10
        seen = b""
        while b"lines of this log are lost" not in seen:
            seen = seen[-200:] + os.read(reader.fileno(), 65_536)
        rest = threading.Thread(target=reader.read)
        rest.start()
        logging.getLogger().handlers[0].close()
        stream.close()
        rest.join()


def test_the_last_words_of_a_process_are_written() -> None:
    code = "import logging; from services import logs; logs.configure(); logging.getLogger('services').info('bye')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60)
    assert done.stderr == "bye\n"
