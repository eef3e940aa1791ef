"""YAML text with the place of everything in it, so that every later complaint can name file, line and column."""

import re
from dataclasses import dataclass
from typing import Final

from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from compose.reading.nodes import Entry, Mapping, Node, Scalar, Sequence
from compose.reading.problems import Mark, Problem, SourceError, split_lines
from compose.reading.scalars import Value, construct, resolve, shown_tag
from compose.reading.scanner import EventParser
from compose.reading.syntax import explain

MAX_BYTES: Final = 1_000_000
MAX_ALIASES: Final = 100
MAX_DEPTH: Final = 50
MAX_COPIED_NODES: Final = 100_000
"""Values that aliases and merge keys may add, counted as often as they are repeated."""


def decode(data: bytes, name: str) -> str:
    """The text of a file called `name`. Raises SourceError when it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        column = len(data[start : error.start].decode("utf-8")) + 1
        mark = Mark(name, data.count(b"\n", 0, error.start) + 1, column)
        message = f"the byte 0x{data[error.start]:02X} is not UTF-8"
        raise SourceError(Problem(mark, message, "save the file as UTF-8", "cannot read")) from None


def read_yaml(text: str, name: str) -> Mapping:
    """The one document in `text`, whose marks bear `name`.

    Raises SourceError with all problems; only a syntax error or a passed limit ends the reading at once.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise SourceError(_problem(Mark(name, 1, 1), f"the file is larger than {MAX_BYTES // 1_000_000} MB"))
    lines = split_lines(text)
    _refuse_control_characters(lines, name)
    reader = _Reader("\n".join(lines), name)
    try:
        root = reader.document()
    except MarkedYAMLError as error:
        fault = explain(error, lines)
        mark = Mark(name, fault.line + 1, fault.column + 1)
        raise SourceError(*reader.problems, _problem(mark, fault.message, fault.hint)) from None
    except (ValueError, OverflowError):  # PyYAML converts escapes and version numbers without a check
        raise SourceError(*reader.problems, _problem(reader.here(), "this number is out of range")) from None
    if not isinstance(root, Mapping):
        raise SourceError(*reader.problems, _no_mapping(root))
    if reader.problems:
        raise SourceError(*reader.problems)
    return root


def _no_mapping(root: Scalar | Sequence) -> Problem:
    if isinstance(root, Scalar) and root.plain and not root.raw:
        return _problem(Mark(root.mark.file, 1, 1), "the file is empty", "`model-compose init` writes a first one")
    kind = "a list" if isinstance(root, Sequence) else "one value"
    return _problem(root.mark, f"the file holds {kind} instead of keys", "begin with `component:`")


def _problem(mark: Mark, message: str, hint: str | None = None) -> Problem:
    return Problem(mark, message, hint, "cannot read")


# YAML allows no other control characters; the last three stand in for line breaks of YAML 1.1 (see _Reader).
_FORBIDDEN = re.compile("[^\t\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufdcf\ufdd3-\ufffd\U00010000-\U0010ffff]")


def _refuse_control_characters(lines: list[str], name: str) -> None:
    for number, line in enumerate(lines, 1):
        found = _FORBIDDEN.search(line)
        if found:
            what = "a NUL character" if found[0] == "\0" else f"the control character U+{ord(found[0]):04X}"
            raise SourceError(_problem(Mark(name, number, found.start() + 1), f"{what} is not allowed in YAML"))


# PyYAML ends lines at these, as YAML 1.1 did; in YAML 1.2 they are ordinary characters.
_OLD_BREAKS = {0x85: 0xFDD0, 0x2028: 0xFDD1, 0x2029: 0xFDD2}
_RESTORED = {new: old for old, new in _OLD_BREAKS.items()}


@dataclass(slots=True)
class _Anchor:
    """What an alias repeats: `node` (None while it is being read), how many nodes that are, and how deep they nest."""

    node: Node | None = None
    count: int = 0
    height: int = 0


class _Reader:
    """Makes nodes of events. Collects problems of meaning and goes on; raises SourceError when a limit is passed."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.problems: list[Problem] = []
        self.parser = EventParser(text.translate(_OLD_BREAKS))
        self.anchors: dict[str, _Anchor] = {}
        self.aliases = 0
        self.count = 0
        self.copied = 0
        self.deepest = 0

    def document(self) -> Node:
        self._take()
        if self.parser.check_event(StreamEndEvent):
            return Scalar(None, "", self.here(), plain=True)
        self._take()
        root = self._node(1)
        self._take()
        if not self.parser.check_event(StreamEndEvent):
            raise self._stop(self._take(), "a second document begins here", "a file holds one document")
        return root

    def here(self) -> Mark:
        """How far the reading came."""
        return Mark(self.name, self.parser.line + 1, self.parser.column + 1)

    def _node(self, depth: int) -> Node:
        event = self._take()
        assert isinstance(event, NodeEvent), "the parser yields a node here"
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        if depth > MAX_DEPTH and not isinstance(event, ScalarEvent):
            raise self._stop(event, f"more than {MAX_DEPTH} levels are nested here")
        if event.anchor is None:
            return self._content(event, depth)
        anchor = self.anchors[event.anchor] = _Anchor()
        before, deepest = self.count, self.deepest
        self.deepest = depth
        anchor.node = self._content(event, depth)
        anchor.count, anchor.height = self.count - before, self.deepest - depth
        self.deepest = max(self.deepest, deepest)
        return anchor.node

    def _content(self, event: NodeEvent, depth: int) -> Node:
        self.count += 1
        self.deepest = max(self.deepest, depth)
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        assert isinstance(event, CollectionStartEvent), "a node is an alias, a scalar or a collection"
        allowed = (None, "!", f"tag:yaml.org,2002:{'map' if isinstance(event, MappingStartEvent) else 'seq'}")
        if event.tag not in allowed:
            self._complain(event, f"the tag {shown_tag(event.tag or '')} is not allowed")
        return self._mapping(event, depth) if isinstance(event, MappingStartEvent) else self._sequence(event, depth)

    def _alias(self, event: AliasEvent, depth: int) -> Node:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise self._stop(event, f"the file has more than {MAX_ALIASES} aliases")
        anchor = self.anchors.get(event.anchor or "")
        if anchor is None:
            hint = f"known here: {', '.join(self.anchors)}" if self.anchors else "put the value in quotes"
            self._complain(event, f"no anchor `&{event.anchor}` stands above", hint)
        elif anchor.node is None:
            self._complain(event, "this alias repeats the value that it stands in")
        if anchor is None or anchor.node is None:
            return Scalar(None, "", self._mark(event), plain=True)
        self.count += anchor.count
        self.copied += anchor.count
        if self.copied > MAX_COPIED_NODES:
            raise self._stop(event, f"the aliases up to here repeat more than {MAX_COPIED_NODES} values")
        self.deepest = max(self.deepest, depth + anchor.height)
        if depth + anchor.height > MAX_DEPTH:
            raise self._stop(event, f"with this alias more than {MAX_DEPTH} levels are nested")
        return anchor.node

    def _scalar(self, event: ScalarEvent) -> Scalar:
        raw = event.value.translate(_RESTORED)
        try:
            raw = raw.encode("utf-16", "surrogatepass").decode("utf-16")  # joins the halves of a JSON escape
        except UnicodeDecodeError:
            self._complain(event, "an escape from \\ud800 to \\udfff names half a character")
        plain = event.style is None and event.tag is None
        value: Value = raw
        try:
            if event.tag is not None:
                value = construct(event.tag, raw)
            elif plain:
                value = resolve(raw)
        except ValueError as error:
            self._complain(event, str(error))
        return Scalar(value, raw, self._mark(event), plain, self.text[slice(*_extent(event))])

    def _sequence(self, start: NodeEvent, depth: int) -> Sequence:
        items = []
        while not self.parser.check_event(SequenceEndEvent):
            items.append(self._node(depth + 1))
        self._take()
        return Sequence(tuple(items), self._mark(start))

    def _mapping(self, start: NodeEvent, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        while not self.parser.check_event(MappingEndEvent):
            key = self._node(depth + 1)
            value = self._node(depth + 1)
            if not isinstance(key, Scalar):
                hint = "a value that begins with `{` or `[` stands in quotes, unless it is a map or a list"
                self.problems.append(_problem(key.mark, "a key must be text", hint))
            elif key.plain and not key.raw:
                self.problems.append(_problem(key.mark, "a key is missing before `:`"))
            elif key.plain and key.raw == "<<":
                merged = self._merged(value) | merged
            else:
                old = entries.get(key.raw)
                entries[key.raw] = Entry(key.mark, value, (*old.repeated, old.key_mark) if old else ())
        self._take()
        return Mapping(merged | entries, self._mark(start))

    def _merged(self, value: Node) -> dict[str, Entry]:
        """The entries of a merge key's mapping, or of its list of mappings, of which the first wins."""
        entries: dict[str, Entry] = {}
        for node in value.items if isinstance(value, Sequence) else (value,):
            if isinstance(node, Mapping):
                entries = node.entries | entries
            else:
                self.problems.append(_problem(node.mark, "`<<` takes a map, or a list of maps"))
        return entries

    def _take(self) -> Event:
        return self.parser.get_event()

    def _mark(self, event: Event) -> Mark:
        assert event.start_mark is not None, "events of a text have places"
        return Mark(self.name, event.start_mark.line + 1, event.start_mark.column + 1)

    def _complain(self, event: Event, message: str, hint: str | None = None) -> None:
        self.problems.append(_problem(self._mark(event), message, hint))

    def _stop(self, event: Event, message: str, hint: str | None = None) -> SourceError:
        return SourceError(*self.problems, _problem(self._mark(event), message, hint))


def _extent(event: Event) -> tuple[int, int]:
    """Where the event begins and ends in the text."""
    assert event.start_mark is not None, "events of a text have places"
    assert event.end_mark is not None, "events of a text have places"
    return event.start_mark.index, event.end_mark.index
