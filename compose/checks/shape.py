"""Whether the file has the shape of a spec; what pydantic finds wrong is said in our own words, at its place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from compose.blocks import Location, kind_at, node_at, without
from compose.dialect import OLDER_KEYS
from compose.reading import nodes
from compose.reading.interpolation import to_data
from compose.reading.nodes import Node, mark_at
from compose.reading.problems import Problem
from compose.spec import (
    ActionSpec,
    AdapterSpec,
    AuthSpec,
    ComposeSpec,
    ControllerSpec,
    JobSpec,
    ModelComponentSpec,
    ModelSpec,
    RuntimeSpec,
    Spec,
    WebUiSpec,
    WorkflowSpec,
)
from services.catalog import TASKS
from services.router.names import closest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MODELS: Final[dict[str, type[Spec]]] = {
    "file": ComposeSpec,
    "controller": ControllerSpec,
    "adapter": AdapterSpec,
    "webui": WebUiSpec,
    "auth": AuthSpec,
    "runtime": RuntimeSpec,
    "component": ModelComponentSpec,
    "model": ModelSpec,
    "action": ActionSpec,
    "workflow": WorkflowSpec,
    "job": JobSpec,
}

_ROUNDS: Final = 5
"""What is wrong is taken out and the rest read again; each round may uncover a key that is now missing."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """A file's spec, without the parts that `problems` name; None when too little is left.

    node: what the spec was made of, so that its locations lead to marks. used: the variables that the file reads,
    with their values.
    """

    spec: ComposeSpec | None
    node: nodes.Mapping
    used: Mapping[str, str]
    problems: tuple[Problem, ...]


def read_shape(root: nodes.Mapping, environment: Mapping[str, str]) -> Shaped:
    """The typed form of a file in today's dialect."""
    first = to_data(root, environment)
    node: Node = root
    found: list[Problem] = []
    data = first.data
    for attempt in range(_ROUNDS):
        assert isinstance(node, nodes.Mapping), "only what stands in the file is taken out"
        try:
            return Shaped(ComposeSpec.model_validate(data), node, first.used, (*first.problems, *found))
        except ValidationError as error:
            details = error.errors(include_url=False)
            if attempt == 0:
                found += [_problem(node, detail) for detail in details if _is_cause(detail, details, node, environment)]
            node = without(node, [place for detail in details if (place := _faulty(detail))])
            data = to_data(node, environment).data
    return Shaped(None, root, first.used, (*first.problems, *found))


def accepted_keys(kind: str) -> list[str]:
    """The keys of a kind of block, in today's dialect and the older one, today's first."""
    fields = list(MODELS[kind].model_fields)
    return fields + sorted(OLDER_KEYS.get(kind, frozenset()) - set(fields))


def _is_cause(
    detail: "ErrorDetails", details: "list[ErrorDetails]", root: Node, environment: Mapping[str, str]
) -> bool:
    """Not the consequence of a variable that is not set, or of a misspelled key beside the missing one."""
    location = detail["loc"]
    if detail["type"] == "missing":
        neighbours = [other["loc"] for other in details if other["type"] == "extra_forbidden"]
        return not any(
            other[:-1] == location[:-1] and closest(str(other[-1]), [str(location[-1])]) for other in neighbours
        )
    node = node_at(root, location)
    return node is None or not to_data(node, environment).problems


def _faulty(detail: "ErrorDetails") -> Location:
    """What cannot stay: the value itself, or the block that misses it."""
    location = detail["loc"]
    return location[:-1] if detail["type"] == "missing" else location


def _problem(root: Node, detail: "ErrorDetails") -> Problem:
    location = detail["loc"]
    name = next((step for step in reversed(location) if isinstance(step, str)), "the file")
    is_unknown = detail["type"] == "extra_forbidden"
    message, hint = _unknown(location) if is_unknown else _sentence(name, location, detail)
    return Problem(mark_at(root, location, key=is_unknown), message, hint, "wrong shape")


def _unknown(location: Location) -> tuple[str, str | None]:
    key = str(location[-1])
    kind = kind_at(location[:-1]) or "file"
    known = accepted_keys(kind)
    where = "at the top of the file" if kind == "file" else f"in {'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    message = f"unknown key `{key}` {where}"
    homes = [f"`{other}`" for other, model in MODELS.items() if key in model.model_fields and other != "file"]
    if 0 < len(homes) <= 2:
        return message, f"it belongs in {' or '.join(homes)}"
    meant = closest(key, known)
    return message, f"did you mean `{meant}`?" if meant else f"allowed: {', '.join(known)}"


def _sentence(name: str, location: Location, detail: "ErrorDetails") -> tuple[str, str | None]:
    context: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return _missing(name, location)
        case "value_error":
            return f"`{name}` {context['error']}", None
        case "literal_error":
            return _not_allowed(name, detail["input"], context["expected"])
        case "model_type":
            what = f"`{name}`" if isinstance(location[-1], str) else f"a {kind_at(location)}"
            nothing = ", and nothing is written here" if detail["input"] is None else ""
            return f"{what} must be a map{nothing}", None
        case "tuple_type":
            return f"`{name}` must be a list", None
        case _:
            return f"`{name}` has a value that is not allowed here", None


def _missing(name: str, location: Location) -> tuple[str, str | None]:
    hints = {
        "type": "write `type: model`",
        "task": f"write `task: NAME` with one of {', '.join(TASKS)}",
        "model": "write `model: OWNER/NAME`, or `model: ./FOLDER` for a local one",
    }
    if kind_at(location[:-1]) == "file":
        return "the file has no component", "begin with `component:`"
    return f"`{name}` is missing", hints.get(name)


def _not_allowed(name: str, value: Any, expected: str) -> tuple[str, str | None]:
    """`expected` is pydantic's list of quoted values."""
    allowed = expected.split("'")[1::2]
    if not isinstance(value, str):
        return f"`{name}` must be {' or '.join(allowed)}", None
    meant = closest(value, allowed)
    question = f"; did you mean `{meant}`?" if meant and len(allowed) > 1 else ""
    return f"`{name}` cannot be `{value}`", f"allowed: {', '.join(allowed)}{question}"
