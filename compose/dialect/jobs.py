"""Older spellings of a job: inline conditions and cases, other names of routes, and `type: action`."""

from typing import Final

from compose.blocks import kind_of
from compose.dialect.editing import Complaints, block, inline_list, listed, replace, take
from compose.dialect.keys import OLDER_KEYS
from compose.reading.nodes import Entry, Mapping, Node, Scalar, Sequence

_WAYS: Final = {"if job": "conditions", "switch job": "cases"}
"""What a routing job chooses from; the only one may be written on the job itself."""


def modern_job(node: Node, complaints: Complaints) -> Node:
    """The same job in today's dialect."""
    node = block(node)
    if not isinstance(node, Mapping):
        return node
    entries = dict(node.entries)
    replace(entries, "type", _type)
    kind = kind_of(Mapping(entries, node.mark), "job")
    if kind in _WAYS:
        _inline_way(entries, kind, complaints)
    elif kind == "random-router job":
        _routings(entries, complaints)
    replace(entries, "do", _do)
    return Mapping(entries, node.mark)


def _type(node: Node) -> Node:
    if isinstance(node, Scalar) and node.value == "action":
        return Scalar("component", "component", node.mark, plain=True)
    return node


def _inline_way(entries: dict[str, Entry], kind: str, complaints: Complaints) -> None:
    """The only condition of an `if`, or case of a `switch`, may be written on the job."""
    plural = _WAYS[kind]
    inline = take(entries, OLDER_KEYS[kind])
    if inline and plural in entries:
        complaints.misplaced(inline, f"`{plural}`", f"write it into one of the {plural}")
    elif inline:
        entries[plural] = inline_list(inline)
    replace(entries, plural, listed)


def _routings(entries: dict[str, Entry], complaints: Complaints) -> None:
    """`routes` with `id`, and `target` in `routings`; weights in `routes` count without a `mode`."""
    older = entries.pop("routes", None)
    if older and "routings" in entries:
        complaints.add(older.key_mark, "`routes` and `routings` mean the same", "keep `routings`")
    elif older:
        entries["routings"] = older
        if "mode" not in entries and _has_key(listed(older.value), "weight"):
            mark = older.key_mark
            entries["mode"] = Entry(mark, Scalar("weighted", "weighted", mark, plain=True))
    replace(entries, "routings", lambda node: _ways_out(listed(node), complaints))


def _ways_out(node: Node, complaints: Complaints) -> Node:
    if not isinstance(node, Sequence):
        return node
    return Sequence(tuple(_way_out(item, complaints) for item in node.items), node.mark)


def _way_out(node: Node, complaints: Complaints) -> Node:
    if not isinstance(node, Mapping):
        return node
    entries = dict(node.entries)
    for key in sorted(OLDER_KEYS["routing"]):
        entry = entries.pop(key, None)
        if entry and "to" in entries:
            complaints.add(entry.key_mark, f"`{key}` and `to` mean the same", "keep `to`")
        elif entry:
            entries["to"] = entry
    return Mapping(entries, node.mark)


def _do(node: Node) -> Node:
    """A request in a `do` may say that it is a component job; it can be nothing else."""
    if not isinstance(node, Mapping):
        return node
    entries = dict(node.entries)
    type_ = entries.get("type")
    if type_ and isinstance(type_.value, Scalar) and type_.value.raw in ("component", "action"):
        del entries["type"]
    return Mapping(entries, node.mark)


def _has_key(node: Node, key: str) -> bool:
    items = node.items if isinstance(node, Sequence) else ()
    return any(isinstance(item, Mapping) and key in item.entries for item in items)
