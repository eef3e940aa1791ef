"""PyYAML's parser with one more rule: in a plain scalar the text from `${` to its `}` is opaque.

Only the scanner knows for certain what is a plain scalar, a quoted one, a comment or a block scalar's body, so the rule
stands there. Tabs between tokens and in plain text are allowed as in YAML 1.2; as indentation they stay refused.
"""

import re

from yaml.events import Event
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner
from yaml.tokens import ScalarToken

from compose.reading.spans import expression_ends

# Runs of characters that continue a plain scalar; `${` is left to expression_ends.
_IN_BLOCK = re.compile(r"(?:[^\0 \t\n:$]|:(?![\0 \t\n])|\$(?!\{))*")
_IN_FLOW = re.compile(r"(?:[^\0 \t\n:$,\[\]{}]|:(?![\0 \t\n,\[\]{}])|\$(?!\{))*")
_GAP = re.compile(r"[ \t]*(?:\n(?:[ \t]*\n)*[ ]*)?")
_DOCUMENT_MARKER = re.compile(r"(?:---|\.\.\.)(?=[\0 \t\n])")


class EventParser(Reader, Scanner, Parser):
    """Events of one text whose lines end in LF."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        self._ends: dict[int, int] = {}
        self._settled = 0  # up to here `_ends` knows every `${`; so no line is gone through twice

    def get_event(self) -> Event:
        event: Event = super().get_event()  # type: ignore[no-untyped-call]  # types-PyYAML leaves it out
        return event

    def scan_to_next_token(self) -> None:
        super().scan_to_next_token()
        while self.peek() == "\t" and (self.flow_level or not self.allow_simple_key):
            self.forward()
            super().scan_to_next_token()

    def scan_plain(self) -> ScalarToken:
        start = end = self.get_mark()
        chunks: list[str] = []
        gap = ""
        while length := self._plain_length():
            chunks += gap, self.prefix(length)
            self.allow_simple_key = False
            self.forward(length)
            end = self.get_mark()
            gap = self._skip_gap()
            if not gap or self.peek() == "#" or (not self.flow_level and self.column <= self.indent):
                break
        return ScalarToken("".join(chunks), True, start, end)

    def _plain_length(self) -> int:
        """How many characters from here on belong to a plain scalar, up to white space."""
        pattern = _IN_FLOW if self.flow_level else _IN_BLOCK
        position: int = self.pointer
        while True:
            run = pattern.match(self.buffer, position)
            assert run is not None, "the pattern matches the empty text"
            position = run.end()
            if not self.buffer.startswith("${", position):
                return position - int(self.pointer)
            if position >= self._settled:
                self._ends, self._settled = expression_ends(self.buffer, position)
            position = self._ends.get(position, position + 1)

    def _skip_gap(self) -> str:
        """Skip white space after a chunk of plain text; the folded text it stands for, empty where the scalar ends."""
        match = _GAP.match(self.buffer, self.pointer)
        assert match is not None, "the pattern matches the empty text"
        gap = match.group()
        self.forward(len(gap))
        breaks = gap.count("\n")
        if not breaks:
            return gap
        self.allow_simple_key = True
        if self.column == 0 and _DOCUMENT_MARKER.match(self.buffer, self.pointer):
            return ""
        return "\n" * (breaks - 1) or " "
