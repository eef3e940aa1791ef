"""Which inputs a workflow has: inferred from the expressions that read `input`, with type, default and description."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.catalog import Kind, TaskType
from services.errors import ServiceError
from services.router.expression import Template, Tree, TypeSpec, input_key, walk
from services.router.messages import warning
from services.router.names import closest, did_you_mean, fold, listed

REQUIRED = ("messages", "text", "prompt", "query", "documents")
"""Fields without which a task cannot work."""

MOST_NAMED = 20
"""Inputs that are compared with the ones we know, and told of one by one."""

_WORDS: dict[Kind, str] = {
    "text": "text",
    "text-or-list": "text",
    "messages": "json",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "text-list": "list",
    "early-stopping": "boolean",
    "seed": "integer",
}

_GUESSED, _WRITTEN, _TAKEN_APART = range(3)
"""How sure a type is: by the place it is used in, by `as`, by an index or sub-name (then it is JSON)."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a workflow. type: a word of the expressions (`text`, `integer`, `json`, `select`, ...)."""

    name: str
    type: str = "text"
    required: bool = False
    default: Any = None
    description: str | None = None
    options: tuple[str, ...] = ()

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
class _Read:
    """One expression that reads an input; `input.name` is empty when it reads all of them."""

    input: Input
    sureness: int

    def __add__(self, other: "_Read") -> "_Read":
        """Both as one: the surer type, whatever else the first one leaves open."""
        surer = self if self.sureness >= other.sureness else other
        merged = Input(
            self.input.name,
            surer.input.type,
            self.input.required or other.input.required,
            self.input.default if self.input.default is not None else other.input.default,
            self.input.description or other.input.description,
            surer.input.options,
        )
        return _Read(merged, surer.sureness)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of one workflow.

    open: some expression reads all inputs at once, so that none can be called unused.
    """

    declared: tuple[Input, ...]
    open: bool

    def check(self, given: Mapping[str, Any]) -> list[dict[str, str]]:
        """Warnings about inputs that nothing reads; raises ServiceError 422 for required ones that are missing."""
        missing = [item.name for item in self.declared if item.required and _value(given, item.name) is None]
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


def _missing(missing: list[str], unused: list[str]) -> ServiceError:
    sent = [(name, closest(name, unused[:MOST_NAMED])) for name in missing]
    near = [f'; did you mean "{name}" by "{other[:80]}"?' for name, other in sent if other is not None]
    subject = f"Input {listed(missing)} is" if len(missing) == 1 else f"Inputs {listed(missing)} are"
    example = ", ".join(f'"{name}": "..."' for name in missing)
    message = f"{subject} required{near[0] if near else '.'}"
    return ServiceError(422, "missing_input", message, hint=f'Send {{"input": {{{example}}}}}.', field=missing[0])


def _unused(name: str, names: list[str]) -> dict[str, str]:
    hint = did_you_mean(name, names)
    message = f'Nothing reads the input "{name[:80]}".'
    return warning("unused_input", message if hint is None else f"{message} {hint}", name[:80])


def action_reads(task: TaskType, fields: Mapping[str, Tree]) -> list[_Read]:
    """What an action's fields read of its input."""
    reads: list[_Read] = []
    for name, tree in fields.items():
        field = task.field(name)
        word = _WORDS[field.kind] if field is not None else "text"
        if name == "messages" and not isinstance(tree, Template):
            reads += _message_reads(tree if isinstance(tree, list) else [tree])
        else:
            reads += _reads(tree, word, name in REQUIRED)
    return reads


def _message_reads(messages: Iterable[Any]) -> Iterator[_Read]:
    messages = list(messages)
    users = [index for index, item in enumerate(messages) if isinstance(item, dict) and item.get("role") == "user"]
    for index, message in enumerate(messages):
        if isinstance(message, dict):
            yield from _reads(message.get("content"), "text", required=index in users[-1:])
            yield from _reads(message.get("role"), "text")
        else:
            yield from _reads(message, "json")


def job_reads(
    action: Iterable[_Read], job_input: Tree | None, repeat_count: Tree | None, output: Tree | None
) -> Iterator[_Read]:
    """What a job reads of its workflow's input: its action's reads seen through the job's `input`, then its own."""
    if job_input is None or _is_pass_through(job_input):
        yield from action
    else:
        if isinstance(job_input, dict):
            for read in action:
                yield from _through(read, job_input)
        yield from _reads(job_input, "text")
    yield from _reads(repeat_count, "integer", required=True)
    yield from _reads(output, "text")


def collect(reads: Iterable[_Read], output: Tree | None) -> Inputs:
    """One entry for each input that the jobs and the workflow's output read, in the order of their first use."""
    merged: dict[str, _Read] = {}
    everything = False
    for read in [*reads, *_reads(output, "text")]:
        name = fold(read.input.name)
        everything |= not name
        if name:
            merged[name] = merged[name] + read if name in merged else read
    return Inputs(tuple(read.input for read in merged.values()), everything)


def _is_pass_through(tree: Tree) -> bool:
    whole = tree.whole if isinstance(tree, Template) else None
    return whole is not None and whole.source == "input" and not whole.path and whole.type is None


def _through(read: _Read, job_input: dict[str, Tree]) -> Iterator[_Read]:
    key = input_key(job_input, read.input.name)
    if key is None:
        return
    value = job_input[key]
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
            yield _Read(mapped, read.sureness)
        else:
            yield own


def _reads(tree: Tree, word: str, required: bool = False) -> Iterator[_Read]:
    """required: whether the place needs a value, so that its only expression must find one.

    word: the type that the place gives to an expression without `as`.
    """
    for use in walk(tree):
        expression = use.expression
        if expression.source != "input":
            continue
        name, rest = "", expression.path
        if rest and isinstance(rest[0], str):
            name, rest = rest[0], rest[1:]
        written = type_word(expression.type) if expression.type is not None else None
        place = "integer" if use.in_index else word
        read = Input(
            name,
            "json" if rest else written or place,
            required and use.only and expression.default is None,
            None if rest else _literal(expression.default, written or place),
            expression.description,
            expression.type.parts if written == "select" and expression.type is not None else (),
        )
        yield _Read(read, _TAKEN_APART if rest else _GUESSED if written is None else _WRITTEN)


def type_word(spec: TypeSpec) -> str:
    """What a schema calls a type: its name, `list` for several values, `text` for one that is not known."""
    if spec.many:
        return "list"
    return spec.name if spec.known and spec.name != "stream" else "text"


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
