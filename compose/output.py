"""Everything that reaches the terminal: results on standard output, the rest on standard error."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from infra.errors import UserError
from infra.state import ServiceState

_RED, _YELLOW = "31", "33"
_SERVICE_COLOURS = ("36", "35", "34", "32", "33", "96", "95", "94")
_CLEAR_LINE = "\r\x1b[K"
_NO_STEPS = ("waiting", "failed", "stopping", "stopped")
"""States that nobody needs to hear of, or that are told with a reason."""
_USUAL_WIDTH = 80


def _same(text: str) -> str:
    return text


@dataclass
class Console:
    """Prints for people, and plainly for everything else.

    quiet: results, warnings and errors only. verbose: also what is hidden elsewhere. redact: takes secrets out.
    """

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    quiet: bool = False
    verbose: bool = False
    redact: Callable[[str], str] = _same
    reader_gone: bool = False
    """Nobody reads the results any more."""
    _status: str = ""

    def result(self, text: str) -> None:
        """What the command was called for."""
        self._write(self.out, self.redact(text) + "\n")

    def text(self, text: str) -> None:
        """A part of a result, as it is."""
        self._write(self.out, text)

    def say(self, text: str) -> None:
        """What happens meanwhile."""
        if not self.quiet:
            self._write(self.err, self.redact(text) + "\n")

    def warn(self, text: str) -> None:
        self._write(self.err, f"{self.paint(self.err, 'warning:', _YELLOW)} {self.redact(text)}\n")

    def error(self, error: UserError) -> None:
        """One sentence and what to do about it."""
        self._write(self.err, f"{self.paint(self.err, 'error:', _RED)} {self.redact(error.message)}\n")
        if error.hint:
            self._write(self.err, f"{self.paint(self.err, 'hint:', _YELLOW)} {self.redact(error.hint)}\n")

    def status(self, text: str) -> None:
        """Replace the last line of a terminal, until the next line is printed below or `text` is empty."""
        if self.quiet or not self.is_live:
            return
        shown = self.redact(text)[: self._width - 1]
        if shown != self._status:
            self._status = shown
            self._put(self.err, _CLEAR_LINE + shown)

    @property
    def is_live(self) -> bool:
        """Whether lines can be rewritten."""
        return self.err.isatty() and self.environ.get("TERM") != "dumb"

    def paint(self, stream: TextIO, text: str, colour: str) -> str:
        """`text` in an ANSI colour where `stream` is a terminal and NO_COLOR is not set."""
        plain = self.environ.get("NO_COLOR") or self.environ.get("TERM") == "dumb" or not stream.isatty()
        return text if plain else f"\x1b[{colour}m{text}\x1b[0m"

    @property
    def _width(self) -> int:
        try:
            return os.get_terminal_size(self.err.fileno()).columns or _USUAL_WIDTH  # some terminals say 0
        except (OSError, ValueError):
            return _USUAL_WIDTH

    def _write(self, stream: TextIO, text: str) -> None:
        """Print whole lines above the status line."""
        status, self._status = self._status, ""
        if status:
            self._put(self.err, _CLEAR_LINE)
        self._put(stream, text)
        if status:
            self.status(status)

    def _put(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except OSError:  # the terminal was closed, or the reader of a pipe has left
            self.reader_gone = self.reader_gone or stream is self.out


@dataclass
class Narrator:
    """Tells what a supervisor does: one live line on a terminal, a line for each step of a start elsewhere.

    show_logs: print the services' own lines as well. show_steps: whether a start is worth lines of its own.
    """

    console: Console
    services: Sequence[str]
    show_logs: bool
    show_steps: bool = True
    _states: dict[str, ServiceState] = field(default_factory=dict)
    _said: dict[str, str] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def line(self, service: str, text: str) -> None:
        if self.show_logs and not self.console.quiet:
            width = max(map(len, self.services))
            colour = _SERVICE_COLOURS[list(self.services).index(service) % len(_SERVICE_COLOURS)]
            console = self.console
            console.result(f"{console.paint(console.out, f'{service:{width}} |', colour)} {text}")

    def changed(self, service: ServiceState) -> None:
        self._states[service.name] = service
        self.refresh()
        word = describe(service, coarse=True)
        is_step = service.state not in _NO_STEPS and word not in ("preparing", self._said.get(service.name))
        if is_step and self.show_steps and not self.console.is_live:
            self._said[service.name] = word
            self.console.say(f"{service.name}: {word}")

    def refresh(self) -> None:
        """Show again how far everything is, and how long it takes already."""
        busy = [state for state in self._states.values() if state.state not in ("ready", "failed", "stopped")]
        parts = [f"{state.name}: {describe(state)}" for state in busy]
        seconds = f"{time.monotonic() - self._began:.0f} s"
        self.console.status("  ".join([*parts, seconds]) if parts else "")


def describe(service: ServiceState, *, coarse: bool = False) -> str:
    """`downloading 43 %, 12 s left`; coarse: in steps of ten per cent and without the estimate."""
    word = (service.stage if service.state in ("preparing", "starting", "restarting") else None) or service.state
    if service.progress is None:
        return word
    percent = int(service.progress * 100)
    if coarse:
        return f"{word} {percent // 10 * 10} %" if percent >= 10 else word
    left = f", {duration(service.seconds_left)} left" if service.seconds_left is not None else ""
    return f"{word} {percent} %{left}"


def duration(seconds: float) -> str:
    """`12 s`, `3 min`, `1 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def shown_path(path: str) -> str:
    """Relative where that leads down from here, as people type it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length, their columns two spaces apart, without trailing space."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(padded)


def in_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def clause(sentence: str) -> str:
    """A sentence of the API as the terminal writes it: without capital and full stop."""
    first = sentence.split(" ", 1)[0]
    starts_like_a_word = first[:1].isupper() and (first[1:].islower() or first == "A")
    text = sentence[:1].lower() + sentence[1:] if starts_like_a_word else sentence
    return text.removesuffix(".")


def count(number: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
