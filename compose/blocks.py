"""The kinds of blocks that a file in today's dialect is made of, and where each stands."""

from collections.abc import Callable, Iterable
from typing import Final

from compose.reading.nodes import Entry, Mapping, Node, Scalar, Sequence

Location = tuple[str | int, ...]
"""Keys and indexes from the root to a node."""

CHILDREN: Final[dict[str, dict[str, str]]] = {
    "file": {"controller": "controller", "components": "component", "workflows": "workflow"},
    "controller": {
        "adapters": "adapter",
        "webui": "webui",
        "auth": "auth",
        "runtime": "runtime",
        "database": "database",
    },
    "component": {
        "model": "model",
        "runtime": "runtime",
        "resources": "resources",
        "scaling": "scaling",
        "actions": "action",
    },
    "workflow component": {"actions": "workflow action"},
    "workflow": {"jobs": "job"},
    "if job": {"conditions": "branch"},
    "switch job": {"cases": "case"},
    "random-router job": {"routings": "routing"},
    "filter job": {"where": "condition"},
    "for-each job": {"do": "do"},
    "loop job": {"do": "do", "while": "condition", "until": "condition"},
    "condition": {"all": "condition", "any": "condition", "not": "condition"},
}
"""The kind of block under each key, by the kind of block the key stands in; a list holds blocks of that kind."""

VARIANTS: Final[dict[str, dict[str, str]]] = {
    "component": {"model": "component", "workflow": "workflow component"},
    "job": {
        "component": "job",
        "delay": "delay job",
        "if": "if job",
        "switch": "switch job",
        "random-router": "random-router job",
        "filter": "filter job",
        "for-each": "for-each job",
        "loop": "loop job",
    },
}
"""The kinds that a block's `type` chooses from; the first is the one that a block without a type is of."""

_EVERY_JOB: Final = {"retry": "retry", "on_error": "on_error"}


def children(kind: str | None) -> dict[str, str]:
    """The kind of block under each key of a block."""
    if kind is None:
        return {}
    own = CHILDREN.get(kind, {})
    return own | _EVERY_JOB if kind in VARIANTS["job"].values() else own


def variant(kind: str, type_: object) -> str | None:
    """The kind of a block of this type; None when there is no such type. None as type is a block that names none."""
    table = VARIANTS.get(kind)
    if table is None:
        return kind
    return next(iter(table.values())) if type_ is None else table.get(str(type_))


def rewrite(node: Node, kind: str, change: Callable[[Mapping, str], Mapping | None]) -> Node | None:
    """The tree with every block replaced, outer ones first, by what `change` makes of it; None takes it out."""
    match node:
        case Sequence():
            items = (rewrite(item, kind, change) for item in node.items)
            return Sequence(tuple(item for item in items if item is not None), node.mark)
        case Scalar():
            return node
    kind = kind_of(node, kind)
    changed = change(node, kind)
    if changed is None:
        return None
    entries = {}
    for key, entry in changed.entries.items():
        child = children(kind).get(key)
        value = rewrite(entry.value, child, change) if child else entry.value
        if value is not None:
            entries[key] = Entry(entry.key_mark, value, entry.repeated)
    return Mapping(entries, changed.mark)


def kind_of(block: Mapping, kind: str) -> str:
    """The kind that a block's `type` makes of it; `kind` itself where there is no such type."""
    entry = block.entries.get("type")
    type_ = entry.value.raw if entry is not None and isinstance(entry.value, Scalar) else None
    return variant(kind, type_) or kind


def without(node: Node, locations: Iterable[Location]) -> Node:
    """The tree without what stands at these places; what is not there is passed over."""
    for location in sorted(set(locations), key=_order, reverse=True):
        node = _without(node, location)
    return node


def renamed(node: Node, location: Location, name: str) -> Node:
    """The tree with another name for the key that stands there."""
    step, rest = location[0], location[1:]
    if isinstance(node, Mapping):
        return Mapping(
            {
                (name if key == step and not rest else key): Entry(
                    entry.key_mark,
                    renamed(entry.value, rest, name) if key == step and rest else entry.value,
                    entry.repeated,
                )
                for key, entry in node.entries.items()
            },
            node.mark,
        )
    if isinstance(node, Sequence) and rest:
        items = (renamed(item, rest, name) if index == step else item for index, item in enumerate(node.items))
        return Sequence(tuple(items), node.mark)
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
