"""Whether an action asks its task for something that the task can do."""

from collections.abc import Mapping
from typing import Any

from compose.blocks import Location
from compose.checks.expressions import Place, check
from compose.checks.findings import Findings
from compose.checks.naming import did_you_mean
from compose.checks.results import own_result
from compose.output import in_words
from compose.spec import ActionSpec, ModelComponentSpec
from compose.templates import constant, is_constant
from compose.written import Template
from services.catalog import ROLES, TASKS, Field, TaskType
from services.router.expression import ExpressionError, Tree
from services.router.expression import Template as Parsed
from services.router.names import closest

_ALWAYS = {"input": None, "env": None, "context": None, "index": None}
_FIELDS = Place("a component", _ALWAYS)
_FEW, _SEVERAL = 2, 10
"""How many tasks, and how many fields, one sentence names."""


def check_action(component: ModelComponentSpec, action: ActionSpec, location: Location, findings: Findings) -> None:
    """Fields, values, expressions and output of one action; the component's task is known."""
    task = TASKS[component.task]
    for name, value in action.fields.items():
        field = task.field(name)
        if field is None:
            _unknown_field(name, task, location, findings)
        else:
            check_value(field, value, (*location, name), _FIELDS, findings)
    given = [name for name in ("text", "prompt") if name in action.fields]
    if len(given) > 1:
        later = max(given, key=lambda name: findings.mark((*location, name), key=True))
        hint = "the answer repeats `text` and leaves `prompt` out: keep one"
        findings.error((*location, later), "`text` and `prompt` cannot both be given", hint, key=True)
    if not task.streams and not _is_off(action.fields.get("streaming", False)):
        message = f"`{task.name}` answers all at once, so there is nothing to stream"
        findings.error((*location, "streaming"), message, "leave `streaming` out", key=True)
    if isinstance(action.fields.get("documents"), list) and task.field("document_field"):
        _check_documents(action.fields, location, findings)
    result = own_result(task, action.fields)
    output = Place("an action's `output`", {"result": result, "output": result, **_ALWAYS})
    check(action.output, (*location, "output"), output, findings)


def check_value(field: Field, value: Template, location: Location, place: Place, findings: Findings) -> None:
    """A value whose type is fixed: its expressions, and what it is when it is known now."""
    if value is None:
        findings.error(location, f"`{field.name}` has no value", "give it one, or leave the key out", key=True)
        return
    tree = check(value, location, place, findings)
    if field.kind == "messages" and isinstance(value, list):
        _check_messages(value, location, findings)
        return
    if tree is None:
        return
    try:
        known = _known_value(value, tree)
    except LookupError:
        return
    try:
        field.coerce(known)
    except ValueError as error:
        meant = closest(known, field.choices) if isinstance(known, str) else None
        findings.error(location, f"`{field.name}` {error}", f"did you mean `{meant}`?" if meant else None)


def _is_off(value: Template) -> bool:
    """Whether a switch surely stays off; what is no switch at all is told elsewhere."""
    try:
        return is_constant(value) and str(constant(value)).strip().lower() != "true"
    except (ExpressionError, LookupError):
        return False


def _known_value(value: Template, tree: Tree) -> Any:
    """What is known before the run: a literal, the environment's value, or an expression's default.

    Raises LookupError when nothing is.
    """
    if is_constant(value):
        return constant(value)
    whole = tree.whole if isinstance(tree, Parsed) else None
    default = whole.default if whole is not None and whole.type is None else None
    if default is None or not all(isinstance(part, str) for part in default.parts):
        raise LookupError(value)
    return "".join(map(str, default.parts))


def _check_documents(fields: Mapping[str, Template], location: Location, findings: Findings) -> None:
    """Whether every document that is an object has the text that is read of it."""
    field = fields.get("document_field")
    for index, document in enumerate(fields["documents"]):
        if not isinstance(document, dict):
            continue
        at, keys = (*location, "documents", index), [*map(str, document)]
        if field is None:
            hint = f"write `document_field: NAME`, here one of {', '.join(keys)}"
            findings.error(at, "nothing says which key of this document holds its text", hint)
        elif isinstance(field, str) and "${" not in field and field not in keys:
            message = f"this document has no `{field}`, which `document_field` names"
            findings.error(at, message, did_you_mean(field, keys))


def _check_messages(messages: list[Any], location: Location, findings: Findings) -> None:
    if not messages:
        findings.error(location, "`messages` must hold at least one message")
    for index, message in enumerate(messages):
        at = (*location, index)
        if isinstance(message, str) and "${" in message:
            continue
        if not isinstance(message, dict):
            findings.error(at, "a message is a map of `role` and `content`")
            continue
        for key in message.keys() - {"role", "content"}:
            meant = closest(str(key), ("role", "content"))
            hint = f"did you mean `{meant}`?" if meant else "allowed: role, content"
            findings.error((*at, key), f"unknown key `{key}` in a message", hint, key=True)
        _check_role(message.get("role"), at, findings)
        if isinstance(message.get("content"), list | dict):
            findings.error((*at, "content"), "content of several parts is not supported yet", "write one text")


def _check_role(role: Any, location: Location, findings: Findings) -> None:
    if role is None:
        findings.error(location, "a message needs a `role`", f"allowed: {', '.join(ROLES)}")
    elif not (isinstance(role, str) and "${" in role) and role not in ROLES:
        meant = closest(str(role), ROLES)
        hint = f"did you mean `{meant}`?" if meant else f"allowed: {', '.join(ROLES)}"
        findings.error((*location, "role"), f"a message's `role` cannot be `{role}`", hint)


def _unknown_field(name: str, task: TaskType, location: Location, findings: Findings) -> None:
    findings.error((*location, name), f"`{task.name}` has no `{name}`", _meant_by(name, task), key=True)


def _meant_by(name: str, task: TaskType) -> str:
    """What to do about a name that a task does not know."""
    others = [other for other in TASKS.values() if other.field(name)]
    if name in ModelComponentSpec.model_fields:
        return "it belongs in the component"
    if any(name in other.fields for other in others):
        return f"{task.name} reads {in_words([f'`{field}`' for field in task.fields])}"
    parameters = [parameter for parameter in task.parameters if parameter != "streaming" or task.streams]
    if others:
        have = " and ".join(other.name for other in others) if len(others) <= _FEW else "other tasks"
        allowed = [*task.fields, *(parameters if len(parameters) <= _SEVERAL else ["parameters"])]
        return f"it is for {have}; allowed here: {in_words(allowed)}"
    names = [*task.fields, *parameters, "output"]
    meant = closest(name, names)
    return f"did you mean `{meant}`?" if meant else f"allowed: {', '.join(names)}"
