"""Older spellings of controllers, components and workflows become today's, before anything is checked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from compose.blocks import kind_of
from compose.dialect.editing import Complaints, block, inline_list, is_empty, listed, replace, same, take
from compose.dialect.jobs import modern_job
from compose.dialect.keys import ACTION_FIELDS, OLDER_KEYS
from compose.reading.nodes import Entry, Mapping, Node, Scalar, Sequence
from compose.reading.problems import Problem

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


def modernise(root: Mapping) -> tuple[Mapping, tuple[Problem, ...]]:
    """The same file in today's dialect, and what could be meant in two ways."""
    rewriter = _Rewriter()
    return rewriter.file(root), tuple(rewriter.complaints)


@dataclass(slots=True)
class _Rewriter:
    complaints: Complaints = field(default_factory=Complaints)

    def file(self, root: Mapping) -> Mapping:
        entries = dict(root.entries)
        replace(entries, "controller", self._controller)
        self._listed(entries, "component", self._component)
        self._listed(entries, "workflow", self._workflow)
        return Mapping(entries, root.mark)

    def _controller(self, node: Node) -> Node:
        node = block(node)
        if not isinstance(node, Mapping):
            return node
        entries = dict(node.entries)
        inline = take(entries, OLDER_KEYS["controller"] - {"adapter"})
        adapters = self._listed(entries, "adapter")
        if inline and adapters:
            self.complaints.misplaced(inline, "`adapter`", "write it into the adapter")
        elif inline:
            entries["adapters"] = inline_list(inline)
        replace(entries, "webui", block)
        replace(entries, "auth", block)
        replace(entries, "runtime", _runtime)
        return Mapping(entries, node.mark)

    def _component(self, node: Node) -> Node:
        if not isinstance(node, Mapping):
            return node
        entries = dict(node.entries)
        kind = kind_of(node, "component")
        inline = self._lifted(take(entries, OLDER_KEYS[kind] - {"action"}))
        replace(inline, "messages", listed)
        actions = self._listed(entries, "action", lambda action: self._action(action, inline))
        if not actions and inline:
            entries["actions"] = inline_list(inline)
        replace(entries, "runtime", _runtime)
        replace(entries, "scaling", self._scaling)
        return Mapping(entries, node.mark)

    def _scaling(self, node: Node) -> Node:
        if not isinstance(node, Mapping):
            return node
        entries = dict(node.entries)
        for key, older in take(entries, OLDER_KEYS["scaling"]).items():
            name = key.removesuffix("_replicas")
            if name in entries:
                self.complaints.add(older.key_mark, f"`{key}` and `{name}` mean the same", f"keep `{name}`")
            else:
                entries[name] = older
        return Mapping(entries, node.mark)

    def _action(self, node: Node, defaults: dict[str, Entry]) -> Node:
        node = block(node)
        if not isinstance(node, Mapping):
            return node
        entries = defaults | self._lifted(dict(node.entries))
        replace(entries, "messages", listed)
        return Mapping(entries, node.mark)

    def _lifted(self, entries: dict[str, Entry]) -> dict[str, Entry]:
        """The parameters under `params` stand beside the fields."""
        params = entries.pop("params", None)
        if params is None or is_empty(params.value):
            return entries
        if not isinstance(params.value, Mapping):
            self.complaints.add(params.value.mark, "`params` must be a map of names and values")
            return entries
        for key, entry in params.value.entries.items():
            other = entries.setdefault(key, entry)
            if not same(other.value, entry.value):
                message = f"`{key}` has another value on line {other.key_mark.line}"
                hint = "on the action and under `params` it means the same: keep one"
                self.complaints.add(entry.key_mark, message, hint)
        return entries

    def _workflow(self, node: Node) -> Node:
        node = block(node)
        if not isinstance(node, Mapping):
            return node
        entries = dict(node.entries)
        inline = take(entries, _INLINE_JOB)
        jobs = self._listed(entries, "job", lambda job: modern_job(job, self.complaints))
        if inline and jobs:
            self.complaints.misplaced(inline, "`job`" if "job" in node.entries else "`jobs`", "write it into a job")
        elif inline:
            entries["jobs"] = inline_list(inline)
        return Mapping(entries, node.mark)

    def _listed(self, entries: dict[str, Entry], kind: str, rewrite: _Rewrite | None = None) -> bool:
        """Blocks under `kind` or its plural become a list under the plural; False when there are none."""
        plural = f"{kind}s"
        one, many = entries.pop(kind, None), entries.pop(plural, None)
        if one and many:
            later = max(one, many, key=lambda entry: entry.key_mark)
            self.complaints.add(later.key_mark, f"`{kind}` and `{plural}` mean the same", "keep one of them")
        entry = one or many
        if entry is None:
            return False
        node = entry.value
        if isinstance(node, Mapping) and _maps_names(node, _IDENTIFYING[kind]):
            first = next(iter(node.entries))
            self.complaints.add(
                entry.key_mark, f"`{plural}` takes a list, not a map of names", f"write `- id: {first}`"
            )
            node = Sequence((), node.mark)
        elif not isinstance(node, Sequence) and not (entry is many and isinstance(node, Scalar)):
            node = Sequence((node,), node.mark)
        if isinstance(node, Sequence) and rewrite:
            node = Sequence(tuple(map(rewrite, node.items)), node.mark)
        entries[plural] = Entry(entry.key_mark, node, entry.repeated)
        return True


def _runtime(node: Node) -> Node:
    if isinstance(node, Scalar) and node.value is not None:
        return Mapping({"type": Entry(node.mark, node)}, node.mark)
    return block(node)


def _maps_names(node: Mapping, identifying: frozenset[str]) -> bool:
    values = [entry.value for entry in node.entries.values()]
    return (
        bool(values) and all(isinstance(value, Mapping) for value in values) and not node.entries.keys() & identifying
    )
