"""Whether the parts of the file fit each other: names, references, order, and who may reach what."""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final

from compose.blocks import Location, node_at
from compose.checks.actions import check_action, check_value, result_shape
from compose.checks.expressions import TEXT, TEXTS, Place, Shape, check, shape_of
from compose.checks.findings import Findings
from compose.checks.hosts import is_loopback
from compose.checks.planned import VALUES
from compose.spec import ActionSpec, ComposeSpec, ControllerSpec, JobSpec, ModelComponentSpec, WorkflowSpec
from compose.templates import jobs_read, uses, with_defaults
from services.catalog import TASKS, Field
from services.router.expression import ExpressionError, compile_tree
from services.router.names import closest, fold

RESERVED: Final = ("router", "page")
"""Names of our own services."""

_REPEAT_COUNT: Final = Field("repeat_count", "integer", "parallel runs of a job", minimum=1, maximum=1_000)


def check_references(spec: ComposeSpec, findings: Findings) -> None:
    """Write down every problem and warning of meaning in a file of the right shape."""
    _check_controller(spec.controller, findings)
    _check_names("component", [component.name for component in spec.components], ("components",), findings)
    _check_default("component", [component.default for component in spec.components], ("components",), findings)
    if not spec.components and not findings.partial:
        findings.error(("components",), "the file has no component", "begin with `component:`")
    for index, component in enumerate(spec.components):
        _check_component(component, ("components", index), findings)
    _check_names("workflow", [workflow.id for workflow in spec.workflows], ("workflows",), findings)
    _check_default("workflow", [workflow.default for workflow in spec.workflows], ("workflows",), findings)
    for index, workflow in enumerate(spec.workflows):
        _check_workflow(workflow, spec, ("workflows", index), findings)


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


def _check_component(component: ModelComponentSpec, here: Location, findings: Findings) -> None:
    if component.id in RESERVED:
        findings.error((*here, "id"), f"the id `{component.id}` is reserved for a service of ours", "choose another")
    if component.max_concurrent_count == 1:
        message = "with `max_concurrent_count: 1` requests run one after the other, never in a batch"
        findings.warn((*here, "max_concurrent_count"), message, "leave it out to let the engine decide")
    if component.task not in TASKS:
        _unknown_task(component.task, here, findings)
        return
    if component.chat_template is not None and "messages" not in TASKS[component.task].fields:
        findings.warn((*here, "chat_template"), f"`chat_template` means nothing to {component.task}")
    actions = (*here, "actions")
    if not component.actions:
        findings.error(actions, "the component has no action", "leave `actions` out for one that says nothing")
    _check_names("action", [action.id for action in component.actions], actions, findings)
    _check_default("action", [action.default for action in component.actions], actions, findings)
    for index, action in enumerate(component.actions):
        check_action(component, action, (*actions, index), findings)


def _unknown_task(task: str, here: Location, findings: Findings) -> None:
    if task in VALUES["component", "task"]:
        hint = f"supported: {', '.join(TASKS)}"
        findings.error((*here, "task"), f"task `{task}` is not supported yet", hint)
    else:
        findings.error((*here, "task"), f"unknown task `{task}`", _did_you_mean(task, TASKS))


def _check_workflow(workflow: WorkflowSpec, spec: ComposeSpec, here: Location, findings: Findings) -> None:
    jobs = (*here, "jobs")
    if not workflow.jobs and not findings.partial:
        findings.error(jobs, "the workflow has no job", "leave `jobs` out for one job of the only component")
    _check_names("job", [job.id for job in workflow.jobs], jobs, findings)
    called = [_called(job, spec, (*jobs, index), findings) for index, job in enumerate(workflow.jobs)]
    results = [_job_result(call, job) for call, job in zip(called, workflow.jobs, strict=True)]
    shapes = [_job_shape(job, result) for job, result in zip(workflow.jobs, results, strict=True)]
    known: dict[str, Shape] = {job.id: {"output": shape} for job, shape in zip(workflow.jobs, shapes, strict=True)}
    base: dict[str, Shape] = {"input": None, "jobs": known, "env": None, "context": None}
    for index, job in enumerate(workflow.jobs):
        _check_job(job, called[index], results[index], base, (*jobs, index), findings)
    _check_order(workflow, jobs, findings)
    output: Shape = shapes[0] if len(shapes) == 1 else None
    check(workflow.output, (*here, "output"), Place("a workflow's `output`", {"output": output, **base}), findings)


def _called(job: JobSpec, spec: ComposeSpec, here: Location, findings: Findings) -> "_Called | None":
    """The component and the action that a job means; writes down why there are none."""
    component = spec.component(job.component)
    if component is None:
        names = [component.name for component in spec.components]
        if job.component is None:
            _nothing_chosen("component", names, here, ("components",), findings)
        elif job.component not in findings.known.get("component", ()):
            hint = _did_you_mean(job.component, names) if names else None
            findings.error((*here, "component"), f"there is no component `{job.component}`", hint)
        return None
    action = component.action(job.action)
    if action is None:
        ids = [action.id for action in component.actions]
        if job.action is None:
            _nothing_chosen("action", ids, here, _actions_of(component, spec), findings)
        elif job.action not in findings.known.get("action", ()) or not findings.partial:
            message = f"component `{component.name}` has no action `{job.action}`"
            findings.error((*here, "action"), message, _did_you_mean(job.action, ids))
        return None
    return component, action


_Called = tuple[ModelComponentSpec, ActionSpec]


def _nothing_chosen(kind: str, names: Sequence[str], here: Location, choices: Location, findings: Findings) -> None:
    """A job names none of several; one that the file leaves out cannot be written to."""
    if findings.partial or not names:
        return
    listed = ", ".join(f"`{name}`" for name in names)
    written = node_at(findings.root, here) is not None
    hint = f"write `default: true` at one of them{f', or `{kind}: NAME` here' if written else ''}"
    findings.error(here if written else choices, f"which {kind} is meant? There are {listed}", hint, key=not written)


def _actions_of(component: ModelComponentSpec, spec: ComposeSpec) -> Location:
    return ("components", spec.components.index(component), "actions")


def _job_result(called: "_Called | None", job: JobSpec) -> Shape:
    """What is known of what a job's action answers, over all its repeats."""
    if called is None or called[0].task not in TASKS:
        return None
    result = result_shape(*called)
    if job.repeat_count is None:
        return result
    return TEXTS if result in (TEXT, TEXTS) else None


def _job_shape(job: JobSpec, result: Shape) -> Shape:
    if job.output is None:
        return result
    try:
        return shape_of(compile_tree(job.output), {"output": result})
    except ExpressionError:
        return None


def _check_job(
    job: JobSpec,
    called: "_Called | None",
    result: Shape,
    base: dict[str, Shape],
    here: Location,
    findings: Findings,
) -> None:
    if job.repeat_count is not None:
        place = Place("`repeat_count`", base)
        check_value(_REPEAT_COUNT, job.repeat_count, (*here, "repeat_count"), place, findings)
    repeated: dict[str, Shape] = {"index": None} if job.repeat_count is not None else {}
    tree = check(job.input, (*here, "input"), Place("a job's `input`", {**base, **repeated}), findings)
    check(job.output, (*here, "output"), Place("a job's `output`", {"output": result, **base}), findings)
    if called is not None and isinstance(tree, dict):
        _check_unread(tree, *called, (*here, "input"), findings)


def _check_unread(
    given: dict[str, object], component: ModelComponentSpec, action: ActionSpec, here: Location, findings: Findings
) -> None:
    """Warn of inputs that the action does not read, unless it passes all of them on."""
    if component.task not in TASKS:
        return
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
            findings.warn((*here, name), f"the action reads no input `{name}`", _did_you_mean(name, read), key=True)


def _check_order(workflow: WorkflowSpec, here: Location, findings: Findings) -> None:
    ids = [job.id for job in workflow.jobs]
    graph: dict[str, set[str]] = {}
    for index, job in enumerate(workflow.jobs):
        for position, name in enumerate(job.depends_on):
            if name not in ids and name not in findings.known.get("job", ()):
                at = (*here, index, "depends_on", position)
                findings.error(at, f"there is no job `{name}`", _did_you_mean(name, ids))
        graph[job.id] = {*job.depends_on, *_read_by(job)} & set(ids)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        first = min(ids.index(name) for name in cycle)
        circle = cycle[cycle.index(ids[first]) :] + cycle[1 : cycle.index(ids[first]) + 1]
        if len(set(circle)) == 1:
            message = f"job `{circle[0]}` waits for itself"
        else:
            message = f"these jobs wait for each other: {' before '.join(circle)}"
        findings.error((*here, first), message)


def _read_by(job: JobSpec) -> tuple[str, ...]:
    try:
        return jobs_read(job)
    except ExpressionError:
        return ()


def _check_names(kind: str, names: Sequence[str], here: Location, findings: Findings) -> None:
    """No two of one kind bear the same name."""
    for index, name in enumerate(names):
        first = names.index(name)
        if first < index:
            at = (*here, index, "id")
            named = node_at(findings.root, at) is not None
            message = f"two {kind}s are called `{name}`" if named else f"this {kind} needs an `id` of its own"
            findings.error(at, message, f"the other one is on line {findings.mark((*here, first)).line}")


def _check_default(kind: str, defaults: Iterable[bool], here: Location, findings: Findings) -> None:
    marked = [index for index, is_default in enumerate(defaults) if is_default]
    for index in marked[1:]:
        line = findings.mark((*here, marked[0], "default")).line
        message = f"two {kind}s are the default"
        findings.error((*here, index, "default"), message, f"the other one is on line {line}; keep one")


def _did_you_mean(name: str, known: Iterable[str]) -> str | None:
    names = [name for name in known if not name.startswith("__")]
    meant = closest(name, names)
    if meant:
        return f"did you mean `{meant}`?"
    return f"known: {', '.join(names)}" if names else None
