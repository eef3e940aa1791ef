"""What a workflow's templates read of its input, seen through every mapping on the way to the component's action."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from services.catalog import Field, Kind, TaskType
from services.router.analysis.demands import needed_by_all
from services.router.analysis.inputs import Input, Inputs
from services.router.expression import Expression, Template, Tree, input_key, walk
from services.router.graph import (
    Call,
    CallWork,
    Combine,
    Condition,
    DelayWork,
    FilterWork,
    ForEachWork,
    IfWork,
    Job,
    LoopWork,
    ModelCall,
    RandomWork,
    Router,
    SwitchWork,
    Work,
)
from services.router.names import fold

REQUIRED = ("messages", "text", "prompt", "query", "documents")
"""Fields without which a task cannot work."""

_WORDS: dict[Kind, str] = {
    "text": "text",
    "text-or-list": "text",
    "messages": "json",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "text-list": "list",
    "documents": "list",
    "choice": "select",
    "early-stopping": "boolean",
    "seed": "integer",
}

_GUESSED, _WRITTEN, _TAKEN_APART = range(3)
"""How sure a type is: by the place it is used in, by `as`, by an index or sub-name (then it is JSON)."""


@dataclass(frozen=True, slots=True)
class Read:
    """One expression that reads an input; `input.name` is empty when it reads all of them."""

    input: Input
    sureness: int

    def __add__(self, other: "Read") -> "Read":
        """Both as one: the surer type, whatever else the first one leaves open."""
        surer = self if self.sureness >= other.sureness else other
        merged = Input(
            self.input.name,
            surer.input.type,
            self.input.required or other.input.required,
            self.input.default if self.input.default is not None else other.input.default,
            self.input.description or other.input.description,
            surer.input.options,
            surer.input.many,
        )
        return Read(merged, surer.sureness)


_EVERYTHING = Read(Input(""), _GUESSED)


def inferred(jobs: Sequence[Job], output: Tree | None, workflows: Mapping[str, Inputs]) -> Inputs:
    """One input for each that the jobs and the workflow's output read, in the order of their first use.

    An input is required when every run needs it; what only one branch needs is missed when that is taken.
    workflows: the inputs of every workflow that the jobs call.
    """
    merged: dict[str, Read] = {}
    everything = False
    reads = {job.id: list(_job_reads(job, workflows)) for job in jobs}
    for read in [*chain.from_iterable(reads.values()), *_reads(output, "text")]:
        name = fold(read.input.name)
        everything |= not name
        if name:
            merged[name] = merged[name] + read if name in merged else read
    demands = {
        job: frozenset(fold(read.input.name) for read in found if read.input.required) for job, found in reads.items()
    }
    needed = needed_by_all(jobs, demands)
    return Inputs(tuple(replace(read.input, required=name in needed) for name, read in merged.items()), everything)


def _job_reads(job: Job, workflows: Mapping[str, Inputs]) -> Iterator[Read]:
    yield from _work_reads(job.work, workflows)
    yield from _reads(job.output, "text")
    if job.on_error is not None:
        yield from _reads(job.on_error.output, "text")


def _work_reads(work: Work, workflows: Mapping[str, Inputs]) -> Iterator[Read]:
    match work:
        case CallWork():
            yield from _call_reads(work.call, workflows)
            yield from _reads(work.repeat_count, "integer", required=True)
        case DelayWork():
            yield from _reads(work.duration, "text", required=True)
            yield from _reads(work.time, "text", required=True)
            yield from _reads(work.timezone, "text")
        case IfWork() | SwitchWork() | RandomWork():
            yield from _router_reads(work)
        case FilterWork():
            yield from _own_input(work.input, "list", needed=True)
            yield from _condition_reads(work.where)
        case ForEachWork():
            yield from _own_input(work.input, "list", needed=True)
            yield from _reads(work.batch_size, "integer", required=True)
            yield from _call_reads(work.call, workflows) if work.call.input is not None else ()
            yield from _reads(work.item_output, "text")
        case LoopWork():
            inside = [*_call_reads(work.call, workflows), *_reads(work.item_output, "text")]
            yield from _through(inside, work.input)
            yield from _condition_reads(work.condition)


def _router_reads(work: Router) -> Iterator[Read]:
    match work:
        case IfWork():
            yield from _own_input(work.input, "text", any(branch.condition.input is None for branch in work.branches))
            for branch in work.branches:
                yield from _condition_reads(branch.condition)
        case SwitchWork():
            yield from _own_input(work.input, "text", needed=True)
            for value, _ in work.cases:
                yield from _reads(value, "text")
        case RandomWork():
            yield from _reads(work.session, "text")


def _own_input(tree: Tree | None, word: str, needed: bool) -> Iterator[Read]:
    """What a job reads as its own input; without one, all that the workflow is given. A list is required."""
    if tree is None:
        yield from (_EVERYTHING,) if needed else ()
    yield from _reads(tree, word, required=word == "list")


def _condition_reads(condition: Condition | None) -> Iterator[Read]:
    match condition:
        case None:
            return
        case Combine():
            for part in condition.conditions:
                yield from _condition_reads(part)
        case _:
            yield from _reads(condition.input, "text")
            yield from _reads(condition.value, "text")


def _call_reads(call: Call, workflows: Mapping[str, Inputs]) -> Iterator[Read]:
    if isinstance(call, ModelCall):
        return _through(_action_reads(call.component.task, call.action.templates), call.input)
    inner = workflows[call.workflow]
    reads = [Read(item, _WRITTEN) for item in inner.declared] + [_EVERYTHING] * inner.open
    return _through(_through(reads, call.own_input), call.input)


def _action_reads(task: TaskType, fields: Mapping[str, Tree]) -> Iterator[Read]:
    """What an action's fields read of its input."""
    for name, tree in fields.items():
        field = task.field(name)
        if name == "messages" and not isinstance(tree, Template):
            yield from _message_reads(tree if isinstance(tree, list) else [tree])
        elif field is not None:
            whole = isinstance(tree, Template) and tree.whole is not None
            word = "text" if (field.kind == "choice" and not whole) or isinstance(tree, list) else _WORDS[field.kind]
            yield from _reads(tree, word, name in REQUIRED, field)


def _message_reads(messages: list[Any]) -> Iterator[Read]:
    users = [index for index, item in enumerate(messages) if isinstance(item, dict) and item.get("role") == "user"]
    for index, message in enumerate(messages):
        if isinstance(message, dict):
            yield from _reads(message.get("content"), "text", required=index in users[-1:])
            yield from _reads(message.get("role"), "text")
        else:
            yield from _reads(message, "json")


def _through(reads: Iterable[Read], mapping: Tree | None) -> Iterator[Read]:
    """What stands behind these reads when `mapping` makes the input that they read; None passes it on."""
    if mapping is None or _is_pass_through(mapping):
        yield from reads
        return
    for read in reads:
        yield from _behind(read, mapping)
    yield from _reads(mapping, "text")


def _is_pass_through(tree: Tree) -> bool:
    whole = tree.whole if isinstance(tree, Template) else None
    return whole is not None and whole.source == "input" and not whole.path and whole.type is None


def _behind(read: Read, mapping: Tree) -> Iterator[Read]:
    name = read.input.name
    if isinstance(mapping, dict):
        key = input_key(mapping, name)
        if key is None:
            return
        value = mapping[key]
    elif isinstance(mapping, Template):
        value = mapping
        if name:
            read = Read(Input(name, "json", read.input.required), _TAKEN_APART)
    else:
        return
    straight = isinstance(value, Template) and value.whole is not None
    for own in _reads(value, read.input.type, read.input.required):
        if straight and own.sureness == _GUESSED:
            mapped = replace(
                read.input,
                name=own.input.name,
                required=own.input.required,
                default=own.input.default if own.input.default is not None else read.input.default,
                description=own.input.description or read.input.description,
            )
            yield Read(mapped, read.sureness)
        else:
            yield own


def _reads(tree: Tree | None, word: str, required: bool = False, field: Field | None = None) -> Iterator[Read]:
    """required: whether the place needs a value, so that its only expression must find one.

    word: the type that the place gives to an expression without `as`. field: what is made of the tree, in an action.
    """
    for use in walk(tree):
        expression = use.expression
        if expression.source != "input":
            continue
        name, rest = "", expression.path
        if rest and isinstance(rest[0], str):
            name, rest = rest[0], rest[1:]
        written = expression.type.word if expression.type is not None else None
        place = "integer" if use.in_index else word
        type_ = "json" if rest else written or place
        read = Input(
            name,
            type_,
            required and use.only and expression.default is None,
            None if rest else _literal(expression.default, written or place),
            expression.description,
            _options(expression, field) if type_ == "select" else (),
            many=type_ == "text" and written is None and use.whole and _takes_lists(tree, field),
        )
        yield Read(read, _TAKEN_APART if rest else _GUESSED if written is None else _WRITTEN)


def _options(expression: Expression, field: Field | None) -> tuple[str, ...]:
    if expression.type is not None:
        return expression.type.parts
    return field.choices if field is not None else ()


def _takes_lists(tree: Tree | None, field: Field | None) -> bool:
    return field is not None and field.kind == "text-or-list" and isinstance(tree, Template)


def _literal(default: Template | None, word: str) -> Any:
    """A default as a value for a form; None when it depends on the run."""
    if default is None or not all(isinstance(part, str) for part in default.parts):
        return None
    text = "".join(part for part in default.parts if isinstance(part, str))
    try:
        match word:
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "boolean":
                return text.strip().lower() in ("true", "1")
    except ValueError:
        pass
    return text
