"""Whether the parts of the file fit each other: who is reachable, and what each component and workflow holds."""

from typing import Final

from compose.blocks import Location
from compose.checks.actions import check_action
from compose.checks.calls import workflow_shape
from compose.checks.expressions import Place, Shape, check
from compose.checks.findings import Findings
from compose.checks.hosts import is_loopback
from compose.checks.jobs import check_jobs
from compose.checks.naming import check_default, check_distinct, check_names, did_you_mean
from compose.checks.order import check_recursion, check_unused
from compose.checks.planned import VALUES
from compose.checks.resources import check_resources
from compose.spec import (
    ComponentSpec,
    ComposeSpec,
    ControllerSpec,
    ModelComponentSpec,
    WorkflowActionSpec,
    WorkflowComponentSpec,
)
from services.catalog import TASKS

RESERVED: Final = ("router", "page")
"""Names of our own services."""

_ELSEWHERE: Final = {
    "conversational": "chat-completion",
    "feature-extraction": "text-embedding",
    "sentence-similarity": "text-embedding",
    "sentiment-analysis": "text-classification",
    "text-ranking": "text-reranking",
    "text2text-generation": "text-to-text",
}
"""Our tasks, by the names that the hub and its library have for them."""


def check_references(spec: ComposeSpec, findings: Findings) -> None:
    """Write down every problem and warning of meaning in a file of the right shape."""
    _check_controller(spec.controller, findings)
    components: Location = ("components",)
    names = [component.name for component in spec.components]
    check_names("component", names, components, findings)
    check_distinct(names, components, findings)
    check_default("component", [component.default for component in spec.components], components, findings)
    if not spec.components and not findings.partial:
        findings.error(components, "the file has no component", "begin with `component:`")
    for index, component in enumerate(spec.components):
        _check_component(component, spec, (*components, index), findings)
    workflows: Location = ("workflows",)
    check_names("workflow", [workflow.id for workflow in spec.workflows], workflows, findings)
    check_default("workflow", [workflow.default for workflow in spec.workflows], workflows, findings)
    for index, workflow in enumerate(spec.workflows):
        check_jobs(workflow, spec, (*workflows, index), findings)
    check_recursion(spec, findings)
    if not findings.partial:
        check_unused(spec, findings)


def _check_controller(controller: ControllerSpec, findings: Findings) -> None:
    here: Location = ("controller",)
    if len(controller.adapters) != 1:
        if controller.adapters:
            findings.error((*here, "adapters", 1), "more than one adapter is not supported yet")
        elif not findings.partial:
            findings.error((*here, "adapters"), "the controller has no adapter", "write `- type: http-server`")
        return
    adapter, webui, auth = controller.adapter, controller.webui, controller.auth
    guarded = auth.token or auth.insecure
    hint = "set `controller.auth.token`, or `controller.auth.insecure: true` if everybody may use it"
    if f"{adapter.base_path}/".startswith("/v1/"):
        message = "`/v1` is where OpenAI clients ask already"
        findings.error((*here, "adapters", 0, "base_path"), message, "choose another, such as `/api`")
    if not is_loopback(adapter.host) and not guarded:
        message = f"`{adapter.host}` lets other machines in, and nothing asks them for a token"
        findings.error((*here, "adapters", 0, "host"), message, hint)
    if webui is None:
        return
    if not is_loopback(webui.host) and not guarded:
        message = f"`{webui.host}` lets other machines see the page, and nothing asks them for a token"
        findings.error((*here, "webui", "host"), message, hint)
    if webui.port == adapter.port:
        findings.error((*here, "webui", "port"), f"the API listens on port {adapter.port} already", "choose another")


def _check_component(component: ComponentSpec, spec: ComposeSpec, here: Location, findings: Findings) -> None:
    if component.id is not None and component.id.lower() in RESERVED:
        findings.error((*here, "id"), f"the id `{component.id}` is reserved for a service of ours", "choose another")
    actions = (*here, "actions")
    check_names("action", [action.id for action in component.actions], actions, findings)
    check_default("action", [action.default for action in component.actions], actions, findings)
    if isinstance(component, WorkflowComponentSpec):
        _check_workflow_component(component, spec, here, findings)
    else:
        _check_model_component(component, here, findings)


def _check_workflow_component(
    component: WorkflowComponentSpec, spec: ComposeSpec, here: Location, findings: Findings
) -> None:
    if not component.actions and findings.is_whole(here):
        findings.error(here, "the component names no workflow", "write `workflow: NAME`")
    for index, action in enumerate(component.actions):
        _check_workflow_action(action, spec, (*here, "actions", index), findings)


def _check_workflow_action(action: WorkflowActionSpec, spec: ComposeSpec, here: Location, findings: Findings) -> None:
    if spec.workflow(action.workflow) is None and action.workflow not in findings.known.get("workflow", ()):
        hint = did_you_mean(action.workflow, [workflow.id for workflow in spec.workflows])
        findings.error((*here, "workflow"), f"there is no workflow `{action.workflow}`", hint)
    reads: dict[str, Shape] = {"input": None, "env": None, "context": None}
    check(action.input, (*here, "input"), Place("an action's `input`", reads), findings)
    result = workflow_shape(action, spec)
    output = Place("an action's `output`", {"result": result, "output": result, **reads})
    check(action.output, (*here, "output"), output, findings)


def _check_model_component(component: ModelComponentSpec, here: Location, findings: Findings) -> None:
    if component.max_concurrent_count == 1:
        message = "with `max_concurrent_count: 1` requests run one after the other, never in a batch"
        findings.warn((*here, "max_concurrent_count"), message, "leave it out to let the engine decide")
    check_resources(component, here, findings)
    if component.task not in TASKS:
        _unknown_task(component.task, here, findings)
        return
    if component.chat_template is not None and "messages" not in TASKS[component.task].fields:
        findings.warn((*here, "chat_template"), f"`chat_template` means nothing to {component.task}")
    _check_labels(component, here, findings)
    actions = (*here, "actions")
    if not component.actions:
        findings.error(actions, "the component has no action", "leave `actions` out for one that says nothing")
    for index, action in enumerate(component.actions):
        check_action(component, action, (*actions, index), findings)


def _check_labels(component: ModelComponentSpec, here: Location, findings: Findings) -> None:
    labels = component.labels
    if labels is None:
        return
    if "label" not in TASKS[component.task].parts:
        takes = " and ".join(task.name for task in TASKS.values() if "label" in task.parts)
        findings.error((*here, "labels"), f"`{component.task}` has no `labels`", f"{takes} has them", key=True)
    elif not labels:
        hint = "name the classes in their order, or leave `labels` out for the model's own"
        findings.error((*here, "labels"), "`labels` is empty", hint)
    for index, label in enumerate(labels):
        if not label.strip():
            findings.error((*here, "labels", index), "a label is empty")
        elif label in labels[:index]:
            findings.error((*here, "labels", index), f"the label `{label}` stands twice", "each class has its own")


def _unknown_task(task: str, here: Location, findings: Findings) -> None:
    if task in VALUES["component", "task"]:
        hint = f"supported: {', '.join(TASKS)}"
        findings.error((*here, "task"), f"task `{task}` is not supported yet", hint)
    else:
        findings.error((*here, "task"), f"unknown task `{task}`", did_you_mean(_ELSEWHERE.get(task, task), TASKS))
