"""The keys of older spellings, by the kind of block they stand in."""

from typing import Final

from services.catalog import TASKS

ACTION_FIELDS: Final = frozenset(name for task in TASKS.values() for name in (*task.fields, *task.parameters))
"""What an action may say, whatever its task."""

OLDER_KEYS: Final[dict[str, frozenset[str]]] = {
    "file": frozenset({"component", "workflow"}),
    "controller": frozenset({"adapter", "type", "host", "port", "base_path", "origins"}),
    "component": frozenset({"action", "params", "output"}) | ACTION_FIELDS,
    "workflow component": frozenset({"action", "workflow", "input", "output"}),
    "scaling": frozenset({"min_replicas", "max_replicas"}),
    "action": frozenset({"params"}) | ACTION_FIELDS,
    "workflow": frozenset({"job", "component", "action", "input", "repeat_count"}),
    "if job": frozenset({"operator", "value", "if_true", "if_false"}),
    "switch job": frozenset({"value", "then"}),
    "random-router job": frozenset({"routes"}),
    "routing": frozenset({"target", "id"}),
    "do": frozenset({"type"}),
}
"""Keys that a kind of block takes beside those of its model in `compose.spec`."""
