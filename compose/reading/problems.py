"""What every reader of the file says when something in it is wrong, and how that is shown."""

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["cannot read", "wrong shape", "wrong meaning"]

_SHOWN_WIDTH = 100
"""Characters of a source line that are shown; a longer line is cut around the place."""

_SECRET = re.compile(
    r"""((?:token|key|secret|password)["']?\s*:\s*)(?!\$\{)([^\s,}\]#][^,}\]#]*)|(://[^\s/:@]*:)(?!\$\{)([^\s@/]+)(?=@)""",
    re.IGNORECASE,
)
"""A value that nobody who looks at the terminal should read; one from the environment is not written there."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; line and column count characters from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at one place. A warning has no `kind`. `hint` says what is allowed or what to write instead."""

    mark: Mark
    message: str
    hint: str | None = None
    kind: Kind | None = None

    def __str__(self) -> str:
        """One line, without the hint."""
        return f"{self.mark}: {self.kind}: {self.message}" if self.kind else f"{self.mark}: {self.message}"


class SourceError(Exception):
    """A text that cannot be read; `problems` says why."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def render_problems(problems: Iterable[Problem], sources: Mapping[str, str]) -> str:
    """All problems as text, in the order of the files in `sources`, then by line and column.

    sources: the text of each file by the name its marks bear; without a text the line is not shown.
    """
    order = {name: number for number, name in enumerate(sources)}
    lines = {name: split_lines(text) for name, text in sources.items()}
    by_place = sorted(problems, key=lambda problem: (order.get(problem.mark.file, len(order)), problem.mark))
    return "\n".join(_render(problem, lines.get(problem.mark.file, [])) for problem in dict.fromkeys(by_place))


def split_lines(text: str) -> list[str]:
    """The lines as marks count them: only LF, CRLF and CR end a line."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _render(problem: Problem, lines: list[str]) -> str:
    parts = [str(problem)]
    if problem.mark.line <= len(lines):
        parts += _excerpt(lines[problem.mark.line - 1], problem.mark.column - 1)
    if problem.hint:
        lines = textwrap.wrap(problem.hint, _SHOWN_WIDTH - 2, break_long_words=False, break_on_hyphens=False)
        parts += [f"  {line}" for line in lines]
    return "\n".join(parts)


def _excerpt(line: str, column: int) -> list[str]:
    """The source line and a caret under its `column` (from 0); control characters become spaces, secrets stars."""
    line = _SECRET.sub(lambda match: (match[1] or match[3]) + "*" * len(match[2] or match[4]), line)
    start = max(0, column - _SHOWN_WIDTH // 2) if len(line) > _SHOWN_WIDTH else 0
    shown = "".join(char if char.isprintable() else " " for char in line[start : start + _SHOWN_WIDTH]).rstrip()
    if not shown:
        return []
    before = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line[start:column])
    return [f"  {shown}", f"  {' ' * before}^"]
