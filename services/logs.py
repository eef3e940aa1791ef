"""How every process of ours writes its log: lines of text or of JSON, and never waiting for whoever reads them."""

import contextlib
import json
import logging
import os
import queue
import re
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

FORMAT = "MODEL_COMPOSE_LOG_FORMAT"
LEVEL = "MODEL_COMPOSE_LOG_LEVEL"
"""Environment variables: `text` (the default) or `json`; `debug`, `info` (the default), `warning` or `error`."""

MOST_WAITING = 10_000
"""Lines that wait for a slow reader; later ones are lost, and counted."""
_MOST_TOGETHER = 1000
"""Lines in one write, so that what is taken out to be written cannot grow behind a slow reader either."""
_TOGETHER_S = 0.05
"""How long lines that are no warnings are gathered: to wake a thread for each takes longer than to write it."""
_LAST_LINES_S = 1.0
"""How long the end of a process waits for its last lines to be read."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str, separators=(",", ":"))
_PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f-\x9f]+")
_OURS = ("services", "ui")
_LEVELS = ("debug", "info", "warning", "error")


def configure(environ: Mapping[str, str] = os.environ, stream: TextIO | None = None) -> None:
    """Send all logging of this process to `stream` (standard error); ours from the wanted level on, others' warnings.

    Whoever logs gives what belongs to a line as `extra={"fields": {...}}`: keys in JSON, `key=value` in text.
    """
    chosen, level = environ.get(FORMAT, "text").lower(), environ.get(LEVEL, "info").lower()
    handler = BackgroundHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if chosen == "json" else TextFormatter())
    wanted = getattr(logging, level.upper()) if level in _LEVELS else logging.INFO
    # Looked up for each line, and never shown:
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=max(wanted, logging.WARNING), handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(wanted)
    log = logging.getLogger(__name__)
    if chosen not in ("text", "json"):
        log.warning("%s is text or json, not %r; the log is text", FORMAT, chosen)
    if level not in _LEVELS:
        log.warning("%s is one of %s, not %r; it is info", LEVEL, ", ".join(_LEVELS), level)


class TextFormatter(logging.Formatter):
    """`message key=value ...`, for people; time and service are put before it by whoever collects the lines."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        fields = _fields(record)
        if not fields:
            return line
        message, newline, trace = line.partition("\n")
        return f"{message} {' '.join(f'{key}={_shown(value)}' for key, value in fields.items())}{newline}{trace}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`, the fields, `exception` with its trace."""

    def format(self, record: logging.LogRecord) -> str:
        parts = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            parts["exception"] = self.formatException(record.exc_info)
        return _ENCODER.encode(parts)


class BackgroundHandler(logging.Handler):
    """Writes in a thread of its own: a held terminal (Ctrl-S) fills the pipe behind `stream`, and a server that waited
    for it would serve nobody. Before `os._exit`, `logging.shutdown()` writes what was said last."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lost = 0
        self._urgent = threading.Event()
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= MOST_WAITING:
            self._lost += 1
            return
        try:
            self._lines.put(self.format(record))
            if record.levelno >= logging.WARNING:
                self._urgent.set()
        except Exception:  # noqa: BLE001  # a line that cannot be formatted must not fail what it tells of
            self.handleError(record)

    def close(self) -> None:
        self._lines.put(None)
        self._urgent.set()
        self._thread.join(_LAST_LINES_S)
        super().close()

    def _write(self) -> None:
        ended = False
        while not ended:
            lines = [self._lines.get()]
            if self._lines.qsize() < _MOST_TOGETHER:
                self._urgent.wait(_TOGETHER_S)
            self._urgent.clear()
            while len(lines) < _MOST_TOGETHER and not self._lines.empty():
                lines.append(self._lines.get())
            ended = None in lines
            if self._lost:
                lines.append(self._loss())
            with contextlib.suppress(OSError, ValueError):  # whoever reads has gone
                self._stream.write("".join(f"{line}\n" for line in lines if line is not None))
                self._stream.flush()

    def _loss(self) -> str:
        lost, self._lost = self._lost, 0
        parts = {"name": __name__, "levelname": "WARNING", "msg": "%d lines of this log are lost", "args": (lost,)}
        return self.format(logging.makeLogRecord(parts))


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return fields


def _shown(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=not text.isprintable())
