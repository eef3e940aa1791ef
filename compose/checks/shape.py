"""Whether the file has the shape of a spec; what pydantic finds wrong is said in our own words, at its place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from compose.blocks import VARIANTS, Location, children, node_at, renamed, without
from compose.kinds import MODELS, accepted_keys
from compose.reading import nodes
from compose.reading.interpolation import to_data
from compose.reading.nodes import Node, mark_at
from compose.reading.problems import Mark, Problem
from compose.spec import ComposeSpec
from services.catalog import TASKS
from services.router.names import closest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_ROUNDS: Final = 5
"""What is wrong is taken out, or read as what it seems to mean, and the rest read again; each round may uncover a key
that is now missing."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """A file's spec, without the parts that `problems` name; None when too little is left.

    node: what the spec was made of, so that its locations lead to marks. used: the variables that the file reads,
    with their values. damaged: the places of the blocks out of which something was taken.
    """

    spec: ComposeSpec | None
    node: nodes.Mapping
    used: Mapping[str, str]
    problems: tuple[Problem, ...]
    damaged: frozenset[Mark] = frozenset()


@dataclass(frozen=True, slots=True)
class _Fault:
    """What pydantic has found. kinds: of the block at each step of the way, the file's first; None for a value."""

    detail: "ErrorDetails"
    location: Location
    kinds: tuple[str | None, ...]

    @property
    def type(self) -> str:
        return self.detail["type"]

    @property
    def removed(self) -> Location:
        """What cannot stay: the value itself, or the block that misses it or is of no known type."""
        return self.location[:-1] if self.type in ("missing", _NO_SUCH_TYPE) else self.location


_NO_SUCH_TYPE: Final = "union_tag_not_found"


def read_shape(root: nodes.Mapping, environment: Mapping[str, str]) -> Shaped:
    """The typed form of a file in today's dialect."""
    first = to_data(root, environment)
    node: Node = root
    found: list[Problem] = []
    damaged: set[Mark] = set()
    data = first.data
    for attempt in range(_ROUNDS):
        assert isinstance(node, nodes.Mapping), "only what stands in the file is taken out"
        try:
            spec = ComposeSpec.model_validate(data)
            return Shaped(spec, node, first.used, (*first.problems, *found), frozenset(damaged))
        except ValidationError as error:
            faults = [_fault(detail) for detail in error.errors(include_url=False)]
            if attempt == 0:
                found += [_problem(node, fault) for fault in faults if _is_cause(fault, faults, node, environment)]
            misspelt = [(meant, fault) for fault in faults if (meant := _misspelt(fault, faults))]
            settled = [fault for pair in misspelt for fault in pair]
            removed = [fault.removed for fault in faults if fault not in settled]
            damaged |= {mark for location in removed for mark in _around(node, location)}
            for unknown, missing in misspelt:
                node = renamed(node, unknown.location, str(missing.location[-1]))
            node = without(node, [location for location in removed if location])
            data = to_data(node, environment).data
    return Shaped(None, root, first.used, (*first.problems, *found))


def _around(root: Node, location: Location) -> Iterator[Mark]:
    """The places of the blocks around what stands there."""
    for length in range(len(location)):
        block = node_at(root, location[:length])
        if block is not None:
            yield block.mark


def _fault(detail: "ErrorDetails") -> _Fault:
    """Without the steps that pydantic puts in for the kind that a block's `type` has chosen."""
    location: list[str | int] = []
    kinds: list[str | None] = ["file"]
    is_item = False
    for step in detail["loc"]:
        kind = kinds[-1]
        if is_item and kind in VARIANTS:
            kinds[-1], is_item = str(step), False
            continue
        is_item = isinstance(step, int)
        kinds.append(kind if is_item else children(kind).get(str(step)))
        location.append(step)
    if detail["type"] == _NO_SUCH_TYPE:
        location.append("type")
        kinds.append(None)
    return _Fault(detail, tuple(location), tuple(kinds))


def _is_cause(fault: _Fault, faults: list[_Fault], root: Node, environment: Mapping[str, str]) -> bool:
    """Not the consequence of a variable that is not set, or of a misspelled key beside the missing one."""
    location = fault.location
    if fault.type == "missing":
        return _misspelt(fault, faults) is None
    node = node_at(root, location)
    return node is None or not to_data(node, environment).problems


def _misspelt(fault: _Fault, faults: list[_Fault]) -> _Fault | None:
    """The unknown key that seems to mean the one that is missing beside it."""
    if fault.type != "missing":
        return None
    *block, name = fault.location
    unknown = (other for other in faults if other.type == "extra_forbidden" and [*other.location[:-1]] == block)
    return next((other for other in unknown if closest(str(other.location[-1]), [str(name)])), None)


def _problem(root: Node, fault: _Fault) -> Problem:
    location = fault.location
    name = next((step for step in reversed(location) if isinstance(step, str)), "the file")
    is_unknown = fault.type == "extra_forbidden"
    message, hint = _unknown(fault) if is_unknown else _sentence(name, fault, node_at(root, location))
    return Problem(mark_at(root, location, key=is_unknown), message, hint, "wrong shape")


def _unknown(fault: _Fault) -> tuple[str, str | None]:
    key = str(fault.location[-1])
    kind = fault.kinds[-2] or "file"
    known = accepted_keys(kind)
    message = f"unknown key `{key}` {_in(kind)}"
    homes = list(
        dict.fromkeys(
            f"`{_SAID.get(other, other)}`" for other in MODELS if other != "file" and key in accepted_keys(other)
        )
    )
    if 0 < len(homes) <= 2:
        return message, f"it belongs in {' or '.join(homes)}"
    meant = closest(key, known)
    return message, f"did you mean `{meant}`?" if meant else f"allowed: {', '.join(known)}"


def _in(kind: str) -> str:
    """Where a block of this kind is, in a sentence."""
    said = _SAID.get(kind, kind)
    return "at the top of the file" if kind == "file" else f"in {'an' if said[0] in 'aeiou' else 'a'} {said}"


_SAID: Final = {"workflow action": "action", "branch": "condition", "resources": "map of resources"}
"""What a kind of block is called, where users have no word of their own for it."""


def _sentence(name: str, fault: _Fault, node: Node | None) -> tuple[str, str | None]:
    context: dict[str, Any] = fault.detail.get("ctx", {})
    match fault.type:
        case "missing":
            return _missing(name, fault)
        case "value_error":
            return f"`{name}` {context['error']}", None
        case "literal_error":
            # `expected` is pydantic's list of quoted values
            return _not_allowed(name, fault.detail["input"], context["expected"].split("'")[1::2])
        case str(_) if fault.type == _NO_SUCH_TYPE:
            table = VARIANTS[str(fault.kinds[-2])]
            return _not_allowed(name, node.value if isinstance(node, nodes.Scalar) else None, list(table))
        case "model_type":
            what = f"`{name}`" if isinstance(fault.location[-1], str) else f"a {fault.kinds[-1]}"
            nothing = ", and nothing is written here" if fault.detail["input"] is None else ""
            return f"{what} must be a map{nothing}", None
        case "tuple_type":
            return f"`{name}` must be a list", None
        case _:
            return f"`{name}` has a value that is not allowed here", None


def _missing(name: str, fault: _Fault) -> tuple[str, str | None]:
    hints = {
        "type": "write `type: model`",
        "task": f"write `task: NAME` with one of {', '.join(TASKS)}",
        "model": "write `model: OWNER/NAME`, or `model: ./FOLDER` for a local one",
        "do": "write what is called each time: `do: {component: NAME, input: ...}`",
        "workflow": "name the workflow that it runs",
        "then": "name the job that this case leads to",
        "to": "name the job that this way leads to",
        "max_attempt_count": "write how often the job is tried, the first time included",
    }
    if len(fault.location) == 1:
        return "the file has no component", "begin with `component:`"
    return f"`{name}` is missing", hints.get(name)


def _not_allowed(name: str, value: Any, allowed: list[str]) -> tuple[str, str | None]:
    if not isinstance(value, str):
        return f"`{name}` must be {' or '.join(allowed)}", None
    meant = _MEANT.get(value, closest(value, allowed))
    question = f"; did you mean `{meant}`?" if meant in allowed and len(allowed) > 1 else ""
    return f"`{name}` cannot be `{value}`", f"allowed: {', '.join(allowed)}{question}"


_MEANT: Final = {
    "=": "eq",
    "==": "eq",
    "equals": "eq",
    "!=": "neq",
    "ne": "neq",
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    "nin": "not-in",
    "regex": "match",
    "model": "component",
}
"""What people write who know other languages, or mix up what a component and a job are."""
