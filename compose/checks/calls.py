"""Whether what a job asks of a component exists, and what is known of the answer."""

from collections.abc import Sequence

from compose.blocks import Location, node_at
from compose.checks.expressions import Shape, mapped
from compose.checks.findings import Findings
from compose.checks.naming import did_you_mean
from compose.checks.results import result_shape
from compose.spec import (
    ActionSpec,
    ComponentJobSpec,
    ComponentSpec,
    ComposeSpec,
    DoSpec,
    ModelComponentSpec,
    WorkflowActionSpec,
)
from compose.templates import uses, with_defaults
from compose.usage import Asked
from services.catalog import TASKS
from services.router.expression import ExpressionError, Tree
from services.router.names import fold


def find_call(call: ComponentJobSpec | DoSpec, spec: ComposeSpec, here: Location, findings: Findings) -> Asked | None:
    """The component and the action that are meant; writes down why there are none."""
    component = spec.component(call.component)
    if component is None:
        names = [component.name for component in spec.components]
        if call.component is None:
            _nothing_chosen("component", names, here, ("components",), findings)
        elif call.component not in findings.known.get("component", ()):
            hint = did_you_mean(call.component, names)
            findings.error((*here, "component"), f"there is no component `{call.component}`", hint)
        return None
    action = component.action(call.action)
    if action is None:
        ids = [action.id for action in component.actions]
        if call.action is None:
            _nothing_chosen("action", ids, here, _actions_of(component, spec), findings)
        elif call.action not in findings.known.get("action", ()) or not findings.partial:
            message = f"component `{component.name}` has no action `{call.action}`"
            unnamed = "its only action has no name: leave `action` out" if len(ids) == 1 else None
            findings.error((*here, "action"), message, did_you_mean(call.action, ids) or unnamed)
        return None
    return component, action


def answer_shape(asked: Asked | None, spec: ComposeSpec) -> Shape:
    """What is known of one answer."""
    match asked:
        case (ModelComponentSpec(task=task) as component, ActionSpec() as action) if task in TASKS:
            return result_shape(component, action)
        case (_, WorkflowActionSpec() as action):
            return mapped(action.output, workflow_shape(action, spec))
    return None


def workflow_shape(action: WorkflowActionSpec, spec: ComposeSpec) -> Shape:
    """What is known of the output of the workflow that an action runs."""
    workflow = spec.workflow(action.workflow)
    return mapped(workflow.output, None) if workflow is not None else None


def check_unread(given: Tree, asked: Asked | None, here: Location, findings: Findings) -> None:
    """Warn of inputs that the action does not read, unless it passes all of them on."""
    if asked is None or not isinstance(given, dict):
        return
    component, action = asked
    if not isinstance(component, ModelComponentSpec) or component.task not in TASKS:
        return
    assert isinstance(action, ActionSpec), "a model component's actions are its own"
    templates = [with_defaults(TASKS[component.task], action.fields), action.output]
    try:
        reads = [use.expression for use in uses(templates) if use.expression.source == "input"]
    except ExpressionError:
        return
    if not all(expression.path and isinstance(expression.path[0], str) for expression in reads):
        return
    read = dict.fromkeys(str(expression.path[0]) for expression in reads)
    folded = {fold(name) for name in read}
    for name in given:
        if fold(name) not in folded:
            findings.warn((*here, name), f"the action reads no input `{name}`", did_you_mean(name, read), key=True)


def _nothing_chosen(kind: str, names: Sequence[str], here: Location, choices: Location, findings: Findings) -> None:
    """A job names none of several; one that the file leaves out cannot be written to."""
    if findings.partial or not names:
        return
    listed = ", ".join(f"`{name}`" for name in names)
    written = node_at(findings.root, here) is not None
    hint = f"write `default: true` at one of them{f', or `{kind}: NAME` here' if written else ''}"
    findings.error(here if written else choices, f"which {kind} is meant? There are {listed}", hint, key=not written)


def _actions_of(component: ComponentSpec, spec: ComposeSpec) -> Location:
    return ("components", spec.components.index(component), "actions")
