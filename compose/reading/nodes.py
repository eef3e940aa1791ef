"""What a YAML text becomes: values, lists and mappings that know their places."""

from collections.abc import Iterator
from dataclasses import dataclass

from compose.reading.problems import Mark, Problem
from compose.reading.scalars import Value


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. raw: its text as YAML reads it; source: its text as the file writes it, with quotes and indentation.

    plain: without quotes, tag and block style, so that `value` may be something else than text.
    """

    value: Value
    raw: str
    mark: Mark
    plain: bool
    source: str = ""

    def mark_of(self, fragment: str, offset: int = 0) -> Mark:
        """Where a piece of `raw` stands in the file, plus `offset`; else where the scalar begins."""
        start = self.source.find(fragment)
        if start < 0 or not fragment:
            return self.mark
        before = self.source[: start + offset]
        lines, last = before.count("\n"), before.rpartition("\n")[2]
        return Mark(self.mark.file, self.mark.line + lines, (1 if lines else self.mark.column) + len(last))


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: "tuple[Node, ...]"
    mark: Mark


@dataclass(frozen=True, slots=True)
class Entry:
    """One key's place and value. repeated: the places of the same key whose values this one overrides."""

    key_mark: Mark
    value: "Node"
    repeated: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """Entries in file order; a key is the text it is written as."""

    entries: dict[str, Entry]
    mark: Mark


Node = Scalar | Sequence | Mapping


def repeated_keys(node: Node) -> tuple[Problem, ...]:
    """A warning for each key that stands more than once in one mapping; its last value is the one that counts."""
    return tuple(dict.fromkeys(_repeated_keys(node)))


def merge(base: Mapping, over: Mapping) -> Mapping:
    """Both files' keys: mappings are merged deep, anything else is taken from `over` where it stands there."""
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        old = entries.get(key)
        if old is not None and isinstance(old.value, Mapping) and isinstance(entry.value, Mapping):
            entries[key] = Entry(old.key_mark, merge(old.value, entry.value))
        else:
            entries[key] = entry
    return Mapping(entries, base.mark)


def mark_at(node: Node, location: tuple[int | str, ...], *, key: bool = False) -> Mark:
    """The place of the value at a pydantic `loc`; names in it that the file does not hold are passed over.

    The place is the key's when the value is missing or empty, or when `key` asks for it; what stands instead of a map
    is a value.
    """
    key_mark, mark = node.mark, node.mark
    missing = key
    for step in location:
        missing = key
        if isinstance(node, Mapping) and str(step) in node.entries:
            entry = node.entries[str(step)]
            node, key_mark, mark = entry.value, entry.key_mark, entry.value.mark
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            key_mark = mark = node.mark
        else:
            missing = key or not isinstance(node, Scalar)
    empty = isinstance(node, Scalar) and node.plain and not node.raw
    return key_mark if missing or empty else mark


def _repeated_keys(node: Node) -> Iterator[Problem]:
    match node:
        case Sequence():
            for item in node.items:
                yield from _repeated_keys(item)
        case Mapping():
            for key, entry in node.entries.items():
                if entry.repeated:
                    others = " and ".join(str(mark.line) for mark in entry.repeated)
                    what = f"line {others} does not" if len(entry.repeated) == 1 else f"lines {others} do not"
                    message = f"`{key}` stands here again: line {entry.key_mark.line} counts, {what}"
                    yield Problem(entry.key_mark, message)
                yield from _repeated_keys(entry.value)
