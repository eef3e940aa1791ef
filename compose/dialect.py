"""Older spellings of the file become today's, before anything is checked; every node keeps its place in the file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from compose.blocks import kind_of
from compose.reading.nodes import Entry, Mapping, Node, Scalar, Sequence
from compose.reading.problems import Mark, Problem
from services.catalog import TASKS

ACTION_FIELDS: Final = frozenset(name for task in TASKS.values() for name in (*task.fields, *task.parameters))
"""What an action may say, whatever its task."""

OLDER_KEYS: Final[dict[str, frozenset[str]]] = {
    "file": frozenset({"component", "workflow"}),
    "controller": frozenset({"adapter", "type", "host", "port", "base_path", "origins"}),
    "component": frozenset({"action", "params", "output"}) | ACTION_FIELDS,
    "workflow component": frozenset({"action", "workflow", "input", "output"}),
    "action": frozenset({"params"}) | ACTION_FIELDS,
    "workflow": frozenset({"job", "component", "action", "input", "repeat_count"}),
    "if job": frozenset({"operator", "value", "if_true", "if_false"}),
    "switch job": frozenset({"value", "then"}),
    "random-router job": frozenset({"routes"}),
    "routing": frozenset({"target", "id"}),
    "do": frozenset({"type"}),
}
"""Keys that a kind of block takes beside those of its model in `compose.spec`."""

_IDENTIFYING: Final[dict[str, frozenset[str]]] = {
    "component": frozenset({"id", "type", "task", "model"}),
    "action": frozenset({"id", "default", "output", "params", "workflow", "input"}) | ACTION_FIELDS,
    "workflow": frozenset({"id", "title", "job", "jobs", "component", "action", "input", "output"}),
    "job": frozenset({"id", "type", "component", "action", "input", "output", "repeat_count", "do", "where", "retry"}),
    "adapter": frozenset({"type", "host", "port", "base_path", "origins"}),
}
"""A map with one of these keys is one block; a map of maps without any is taken for a map of names."""

_Rewrite = Callable[[Node], Node]

_INLINE_JOB: Final = ("component", "action", "input", "repeat_count")
_WAYS: Final = {"if job": "conditions", "switch job": "cases"}
"""What a routing job chooses from; the only one may be written on the job itself."""


def modernise(root: Mapping) -> tuple[Mapping, tuple[Problem, ...]]:
    """The same file in today's dialect, and what could be meant in two ways."""
    rewriter = _Rewriter()
    return rewriter.file(root), tuple(rewriter.problems)


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


@dataclass(slots=True)
class _Rewriter:
    problems: list[Problem] = field(default_factory=list)

    def file(self, root: Mapping) -> Mapping:
        entries = dict(root.entries)
        _replace(entries, "controller", self._controller)
        self._listed(entries, "component", self._component)
        self._listed(entries, "workflow", self._workflow)
        return Mapping(entries, root.mark)

    def _controller(self, node: Node) -> Node:
        node = _block(node)
        if not isinstance(node, Mapping):
            return node
        entries = dict(node.entries)
        inline = _take(entries, OLDER_KEYS["controller"] - {"adapter"})
        adapters = self._listed(entries, "adapter")
        if inline and adapters:
            self._misplaced(inline, "`adapter`", "write it into the adapter")
        elif inline:
            mark = _first_mark(inline)
            entries["adapters"] = Entry(mark, Sequence((Mapping(inline, mark),), mark))
        _replace(entries, "webui", _block)
        _replace(entries, "auth", _block)
        _replace(entries, "runtime", _runtime)
        return Mapping(entries, node.mark)

    def _component(self, node: Node) -> Node:
        if not isinstance(node, Mapping):
            return node
        entries = dict(node.entries)
        kind = kind_of(node, "component")
        inline = self._lifted(_take(entries, OLDER_KEYS[kind] - {"action"}))
        actions = self._listed(entries, "action", lambda action: self._action(action, inline))
        if not actions and inline:
            mark = _first_mark(inline)
            entries["actions"] = Entry(mark, Sequence((self._action(Mapping({}, mark), inline),), mark))
        _replace(entries, "runtime", _runtime)
        return Mapping(entries, node.mark)

    def _action(self, node: Node, defaults: dict[str, Entry]) -> Node:
        node = _block(node)
        if not isinstance(node, Mapping):
            return node
        entries = defaults | self._lifted(dict(node.entries))
        _replace(entries, "messages", lambda value: Sequence((value,), value.mark) if _is_map(value) else value)
        return Mapping(entries, node.mark)

    def _lifted(self, entries: dict[str, Entry]) -> dict[str, Entry]:
        """The parameters under `params` stand beside the fields."""
        params = entries.pop("params", None)
        if params is None or is_empty(params.value):
            return entries
        if not isinstance(params.value, Mapping):
            self._complain(params.value.mark, "`params` must be a map of names and values")
            return entries
        for key, entry in params.value.entries.items():
            other = entries.setdefault(key, entry)
            if not same(other.value, entry.value):
                message = f"`{key}` has another value on line {other.key_mark.line}"
                self._complain(entry.key_mark, message, "on the action and under `params` it means the same: keep one")
        return entries

    def _workflow(self, node: Node) -> Node:
        node = _block(node)
        if not isinstance(node, Mapping):
            return node
        entries = dict(node.entries)
        inline = _take(entries, _INLINE_JOB)
        jobs = self._listed(entries, "job", self._job)
        if inline and jobs:
            self._misplaced(inline, "`job`" if "job" in node.entries else "`jobs`", "write it into a job")
        elif inline:
            mark = _first_mark(inline)
            entries["jobs"] = Entry(mark, Sequence((Mapping(inline, mark),), mark))
        return Mapping(entries, node.mark)

    def _job(self, node: Node) -> Node:
        node = _block(node)
        if not isinstance(node, Mapping):
            return node
        entries = dict(node.entries)
        _replace(entries, "type", _job_type)
        kind = kind_of(Mapping(entries, node.mark), "job")
        if kind in _WAYS:
            self._inline_way(entries, kind, _WAYS[kind])
        elif kind == "random-router job":
            self._routings(entries)
        _replace(entries, "do", _do)
        return Mapping(entries, node.mark)

    def _inline_way(self, entries: dict[str, Entry], kind: str, plural: str) -> None:
        """The only condition of an `if`, or case of a `switch`, may be written on the job."""
        inline = _take(entries, OLDER_KEYS[kind])
        if inline and plural in entries:
            self._misplaced(inline, f"`{plural}`", f"write it into one of the {plural}")
        elif inline:
            mark = _first_mark(inline)
            entries[plural] = Entry(mark, Sequence((Mapping(inline, mark),), mark))
        _replace(entries, plural, _list)

    def _routings(self, entries: dict[str, Entry]) -> None:
        """`routes` with `id`, and `target` in `routings`; weights in `routes` count without a `mode`."""
        older = entries.pop("routes", None)
        if older and "routings" in entries:
            self._complain(older.key_mark, "`routes` and `routings` mean the same", "keep `routings`")
        elif older:
            entries["routings"] = older
        _replace(entries, "routings", lambda node: self._ways_out(_list(node)))
        routings = entries.get("routings")
        if older and routings and "mode" not in entries and _has_key(routings.value, "weight"):
            mark = older.key_mark
            entries["mode"] = Entry(mark, Scalar("weighted", "weighted", mark, plain=True))

    def _ways_out(self, node: Node) -> Node:
        return Sequence(tuple(map(self._way_out, node.items)), node.mark) if isinstance(node, Sequence) else node

    def _way_out(self, node: Node) -> Node:
        if not isinstance(node, Mapping):
            return node
        entries = dict(node.entries)
        for key in ("target", "id"):
            entry = entries.pop(key, None)
            if entry and "to" in entries:
                self._complain(entry.key_mark, f"`{key}` and `to` mean the same", "keep `to`")
            elif entry:
                entries["to"] = entry
        return Mapping(entries, node.mark)

    def _listed(self, entries: dict[str, Entry], kind: str, rewrite: _Rewrite | None = None) -> bool:
        """Blocks under `kind` or its plural become a list under the plural; False when there are none."""
        plural = f"{kind}s"
        one, many = entries.pop(kind, None), entries.pop(plural, None)
        if one and many:
            later = max(one, many, key=lambda entry: entry.key_mark)
            self._complain(later.key_mark, f"`{kind}` and `{plural}` mean the same", "keep one of them")
        entry = one or many
        if entry is None:
            return False
        node = entry.value
        if isinstance(node, Mapping) and _maps_names(node, _IDENTIFYING[kind]):
            first = next(iter(node.entries))
            self._complain(entry.key_mark, f"`{plural}` takes a list, not a map of names", f"write `- id: {first}`")
            node = Sequence((), node.mark)
        elif not isinstance(node, Sequence) and not (entry is many and isinstance(node, Scalar)):
            node = Sequence((node,), node.mark)
        if isinstance(node, Sequence) and rewrite:
            node = Sequence(tuple(map(rewrite, node.items)), node.mark)
        entries[plural] = Entry(entry.key_mark, node, entry.repeated)
        return True

    def _misplaced(self, inline: dict[str, Entry], neighbour: str, hint: str) -> None:
        for key, entry in inline.items():
            self._complain(entry.key_mark, f"`{key}` cannot stand beside {neighbour}", hint)

    def _complain(self, mark: Mark, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(mark, message, hint, "wrong shape"))


def _job_type(node: Node) -> Node:
    if isinstance(node, Scalar) and node.value == "action":
        return Scalar("component", "component", node.mark, plain=True)
    return node


def _do(node: Node) -> Node:
    """A request in a `do` may say that it is a component job; it can be nothing else."""
    if not isinstance(node, Mapping):
        return node
    type_ = node.entries.get("type")
    named = type_ and isinstance(type_.value, Scalar) and type_.value.raw in ("component", "action")
    return Mapping({key: entry for key, entry in node.entries.items() if not (named and key == "type")}, node.mark)


def _list(node: Node) -> Node:
    """One block stands for a list of one."""
    return Sequence((node,), node.mark) if isinstance(node, Mapping) else node


def _has_key(node: Node, key: str) -> bool:
    items = node.items if isinstance(node, Sequence) else ()
    return any(isinstance(item, Mapping) and key in item.entries for item in items)


def _runtime(node: Node) -> Node:
    if isinstance(node, Scalar) and node.value is not None:
        return Mapping({"type": Entry(node.mark, node)}, node.mark)
    return _block(node)


def _block(node: Node) -> Node:
    """A key with nothing after it stands for an empty block."""
    return Mapping({}, node.mark) if is_empty(node) else node


def _is_map(node: Node) -> bool:
    return isinstance(node, Mapping)


def _maps_names(node: Mapping, identifying: frozenset[str]) -> bool:
    values = [entry.value for entry in node.entries.values()]
    return bool(values) and all(map(_is_map, values)) and not node.entries.keys() & identifying


def _take(entries: dict[str, Entry], keys: Iterable[str]) -> dict[str, Entry]:
    """Those of `keys` that are there, in file order, taken out of `entries`."""
    wanted = set(keys)
    return {key: entries.pop(key) for key in list(entries) if key in wanted}


def _replace(entries: dict[str, Entry], key: str, rewrite: _Rewrite) -> None:
    entry = entries.get(key)
    if entry is not None:
        entries[key] = Entry(entry.key_mark, rewrite(entry.value), entry.repeated)


def _first_mark(entries: dict[str, Entry]) -> Mark:
    return min(entry.key_mark for entry in entries.values())
