"""Small changes of a block's entries that keep every node's place in the file."""

from collections.abc import Callable, Iterable

from compose.reading.nodes import Entry, Mapping, Node, Scalar, Sequence
from compose.reading.problems import Mark, Problem


class Complaints(list[Problem]):
    """What could be meant in two ways."""

    def add(self, mark: Mark, message: str, hint: str | None = None) -> None:
        self.append(Problem(mark, message, hint, "wrong shape"))

    def misplaced(self, inline: dict[str, Entry], neighbour: str, hint: str) -> None:
        """Keys that stand on a block and belong in one of those that it holds."""
        for key, entry in inline.items():
            self.add(entry.key_mark, f"`{key}` cannot stand beside {neighbour}", hint)


def same(one: Node, other: Node) -> bool:
    """Whether two nodes hold the same data, wherever they stand."""
    match one, other:
        case Scalar(), Scalar():
            return type(one.value) is type(other.value) and one.value == other.value
        case Sequence(), Sequence():
            return len(one.items) == len(other.items) and all(map(same, one.items, other.items))
        case Mapping(), Mapping():
            return one.entries.keys() == other.entries.keys() and all(
                same(entry.value, other.entries[key].value) for key, entry in one.entries.items()
            )
    return False


def is_empty(node: Node) -> bool:
    """Whether nothing is written after the key."""
    return isinstance(node, Scalar) and node.value is None


def block(node: Node) -> Node:
    """A key with nothing after it stands for an empty block."""
    return Mapping({}, node.mark) if is_empty(node) else node


def listed(node: Node) -> Node:
    """One block stands for a list of one."""
    return Sequence((node,), node.mark) if isinstance(node, Mapping) else node


def inline_list(inline: dict[str, Entry]) -> Entry:
    """The only block of a list, whose keys stand where the list would."""
    mark = min(entry.key_mark for entry in inline.values())
    return Entry(mark, Sequence((Mapping(inline, mark),), mark))


def take(entries: dict[str, Entry], keys: Iterable[str]) -> dict[str, Entry]:
    """Those of `keys` that are there, in file order, taken out of `entries`."""
    wanted = set(keys)
    return {key: entries.pop(key) for key in list(entries) if key in wanted}


def replace(entries: dict[str, Entry], key: str, rewrite: Callable[[Node], Node]) -> None:
    """What stands under `key`, if anything does, becomes what `rewrite` makes of it."""
    entry = entries.get(key)
    if entry is not None:
        entries[key] = Entry(entry.key_mark, rewrite(entry.value), entry.repeated)
