"""Where expressions end on a line that YAML has not read yet; their own parser agrees, and reads them later."""

import re
from dataclasses import dataclass

_QUOTE_OPENS = re.compile(r"""\|[ \t]*(["'])""")
_ANNOTATION = re.compile(r"""@\([ \t]*\w+[ \t]*(?:"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')""")
_PIECE = re.compile(r"\$\$\{|.")
_BRACES = {"{": 1, "$${": 1, "}": -1}


@dataclass(slots=True)
class _Expression:
    """A `${` that is not closed yet."""

    start: int
    braces: int = 1
    in_default: bool = False


@dataclass(slots=True)
class _Quoted:
    """A default whose quote is not closed yet."""

    quote: str


def expression_ends(text: str, start: int) -> tuple[dict[int, int], int]:
    """Where each `${` from the one at `start` on is closed: its position and the one after its `}`.

    Stops when the first one is closed or its line ends; the second result says where. Braces are counted, except inside
    a default that begins with a quote: it ends at the same unescaped quote outside the expressions in it.
    """
    ends: dict[int, int] = {}
    opened: list[_Expression | _Quoted] = []
    position = start
    while position < len(text) and text[position] not in "\0\n":
        if text.startswith("${", position):
            opened.append(_Expression(position))
            position += 2
            continue
        innermost = opened[-1]
        if isinstance(innermost, _Quoted):
            if text[position] == innermost.quote:
                opened.pop()
            position += _quoted_piece(text, position, innermost.quote)
            continue
        if innermost.braces == 1 and (end := _own_part(text, position, innermost, opened)):
            position = end
            continue
        piece = _PIECE.match(text, position)
        assert piece is not None, "the pattern matches any character of a line"
        position = piece.end()
        innermost.braces += _BRACES.get(piece[0], 0)
        if not innermost.braces:
            opened.pop()
            ends[innermost.start] = position
            if not opened:
                break
    return ends, position


def _own_part(text: str, position: int, innermost: _Expression, opened: list[_Expression | _Quoted]) -> int | None:
    """The end of what opens here at the expression's own level: its default, or an annotation with its text."""
    if text[position] == "|" and not innermost.in_default:
        innermost.in_default = True
        quoted = _QUOTE_OPENS.match(text, position)
        if quoted:
            opened.append(_Quoted(quoted[1]))
        return quoted.end() if quoted else position + 1
    annotation = _ANNOTATION.match(text, position)
    return annotation.end() if annotation else None


def _quoted_piece(text: str, position: int, quote: str) -> int:
    """How many characters at this place of a quoted default belong together."""
    if text.startswith("$${", position):
        return 3
    return 2 if text.startswith((f"\\{quote}", "\\\\"), position) else 1
