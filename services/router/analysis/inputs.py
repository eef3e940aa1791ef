"""Which inputs a workflow has, and whether what a client sends fits them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.errors import ServiceError
from services.router.expression import input_key
from services.router.messages import warning
from services.router.names import closest, did_you_mean, fold, listed

MOST_NAMED = 20
"""Inputs that are compared with the ones we know, and told of one by one."""

_TEXT = '"..."'
_EXAMPLES = {"list": f"[{_TEXT}]", "object": "{}", "integer": "1", "number": "0.5", "boolean": "true"}
"""How a value of a type is sent; any other type as a text."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a workflow.

    type: a word of the expressions (`text`, `integer`, `json`, `select`, ...). many: a list of them is taken, too.
    """

    name: str
    type: str = "text"
    required: bool = False
    default: Any = None
    description: str | None = None
    options: tuple[str, ...] = ()
    many: bool = False

    def to_json(self) -> dict[str, Any]:
        """One entry of a schema's `input`."""
        parts = {
            "name": self.name,
            "type": self.type,
            "required": self.required,
            "default": self.default,
            "description": self.description,
        }
        return {**parts, "options": list(self.options)} if self.options else parts


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of one workflow.

    open: some expression reads all inputs at once, so that none can be called unused.
    """

    declared: tuple[Input, ...]
    open: bool

    def check(self, given: Mapping[str, Any]) -> list[dict[str, str]]:
        """Warnings about inputs that nothing reads; raises ServiceError 422 for required ones that are missing."""
        missing = [item for item in self.declared if item.required and _value(given, item.name) is None]
        folded = {fold(item.name) for item in self.declared}
        unused = [name for name in given if fold(name) not in folded]
        if missing:
            raise _missing(missing, unused)
        if self.open:
            return []
        names = [item.name for item in self.declared]
        warnings = [_unused(name, names) for name in unused[:MOST_NAMED]]
        if more := len(unused) - len(warnings):
            warnings.append(warning("unused_input", f"Nothing reads {more} more inputs."))
        return warnings


def _value(given: Mapping[str, Any], name: str) -> Any:
    key = input_key(given, name)
    return given[key] if key is not None else None


def _missing(missing: list[Input], unused: list[str]) -> ServiceError:
    names = [item.name for item in missing]
    sent = [(name, closest(name, unused[:MOST_NAMED])) for name in names]
    near = [f'; did you mean "{name}" by "{other[:80]}"?' for name, other in sent if other is not None]
    subject = f"Input {listed(names)} is" if len(names) == 1 else f"Inputs {listed(names)} are"
    example = ", ".join(f'"{item.name}": {_EXAMPLES.get(item.type, _TEXT)}' for item in missing)
    message = f"{subject} required{near[0] if near else '.'}"
    return ServiceError(422, "missing_input", message, hint=f'Send {{"input": {{{example}}}}}.', field=names[0])


def _unused(name: str, names: list[str]) -> dict[str, str]:
    hint = did_you_mean(name, names)
    message = f'Nothing reads the input "{name[:80]}".'
    return warning("unused_input", message if hint is None else f"{message} {hint}", name[:80])
