"""The kinds of blocks that a file in today's dialect is made of, and where each stands."""

from collections.abc import Callable, Iterable
from typing import Final

from compose.reading.nodes import Entry, Mapping, Node, Scalar, Sequence

Location = tuple[str | int, ...]
"""Keys and indexes from the root to a node."""

CHILDREN: Final[dict[str, dict[str, str]]] = {
    "file": {"controller": "controller", "components": "component", "workflows": "workflow"},
    "controller": {"adapters": "adapter", "webui": "webui", "auth": "auth", "runtime": "runtime"},
    "component": {"model": "model", "runtime": "runtime", "actions": "action"},
    "workflow": {"jobs": "job"},
}
"""The kind of block under each key, by the kind of block the key stands in; a list holds blocks of that kind."""


def kind_at(location: Location) -> str | None:
    """The kind of the block at a place; None where no block can stand."""
    kind: str | None = "file"
    for step in location:
        if isinstance(step, str):
            kind = CHILDREN.get(kind, {}).get(step) if kind else None
    return kind


def rewrite(node: Node, kind: str, change: Callable[[Mapping, str], Mapping | None]) -> Node | None:
    """The tree with every block replaced, outer ones first, by what `change` makes of it; None takes it out."""
    match node:
        case Sequence():
            items = (rewrite(item, kind, change) for item in node.items)
            return Sequence(tuple(item for item in items if item is not None), node.mark)
        case Scalar():
            return node
    changed = change(node, kind)
    if changed is None:
        return None
    entries = {}
    for key, entry in changed.entries.items():
        child = CHILDREN.get(kind, {}).get(key)
        value = rewrite(entry.value, child, change) if child else entry.value
        if value is not None:
            entries[key] = Entry(entry.key_mark, value, entry.repeated)
    return Mapping(entries, changed.mark)


def without(node: Node, locations: Iterable[Location]) -> Node:
    """The tree without what stands at these places; what is not there is passed over."""
    for location in sorted(set(locations), key=_order, reverse=True):
        node = _without(node, location)
    return node


def node_at(node: Node, location: Location) -> Node | None:
    """What stands there, or None."""
    for step in location:
        if isinstance(node, Mapping) and step in node.entries:
            node = node.entries[str(step)].value
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node


def _without(node: Node, location: Location) -> Node:
    step, rest = location[0], location[1:]
    if isinstance(node, Mapping) and step in node.entries:
        entries = dict(node.entries)
        entry = entries.pop(str(step))
        if rest:
            entries[str(step)] = Entry(entry.key_mark, _without(entry.value, rest), entry.repeated)
        return Mapping(entries, node.mark)
    if isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
        kept = (_without(node.items[step], rest),) if rest else ()
        return Sequence((*node.items[:step], *kept, *node.items[step + 1 :]), node.mark)
    return node


def _order(location: Location) -> list[tuple[str, int]]:
    """Later items of one list first when reversed, so that taking one out moves none that is still to go."""
    return [("", step) if isinstance(step, int) else (step, 0) for step in location]
