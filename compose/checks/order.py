"""Whether jobs and workflows can come to run: names they wait for or lead to, circles, and dead ends."""

from collections.abc import Iterable, Iterator

from compose.blocks import Location, node_at
from compose.checks.findings import Findings
from compose.checks.naming import did_you_mean
from compose.reading.nodes import Scalar
from compose.spec import ComposeSpec, JobSpec, WorkflowActionSpec, WorkflowComponentSpec, WorkflowSpec
from compose.templates import jobs_read
from compose.usage import asked
from services.router.analysis.reachability import cycle, needs, nodes, unstartable
from services.router.expression import ExpressionError


def check_order(workflow: WorkflowSpec, here: Location, findings: Findings) -> None:
    """Every job named exists, none waits for itself, and each can be started. here: of the jobs."""
    jobs = {job.id: job for job in workflow.jobs}
    for index, job in enumerate(workflow.jobs):
        for at, name in _names(job, (*here, index), findings):
            if name not in jobs and name not in findings.known.get("job", ()):
                findings.error_in_text(at, name, f"there is no job `{name}`", did_you_mean(name, jobs))
    routes = {job.id: [target for _, target in job.routes()] for job in workflow.jobs}
    edges = nodes({job.id: _needs(job, jobs) for job in jobs.values()}, routes)
    places = {job.id: (*here, index) for index, job in reversed(list(enumerate(workflow.jobs)))}
    circle = cycle({name: [need for group in node.needs for need in group] for name, node in edges.items()})
    if circle:
        itself = len(set(circle)) == 1
        order = f"these jobs wait for each other: {' before '.join(circle)}"
        findings.error(places[circle[0]], f"job `{circle[0]}` waits for itself" if itself else order)
    elif not findings.partial:
        for name in unstartable(edges):
            routers = _listed(edges[name].routed_by)
            hint = f"it runs only when {routers} leads to it, and that comes after it: let a job before it lead there"
            findings.error(places[name], f"nothing can ever start job `{name}`", hint)


def check_unused(spec: ComposeSpec, findings: Findings) -> None:
    """Warn of what nothing can reach: private workflows, and components that only run workflows."""
    calls = [call for workflow in spec.workflows for call in asked(workflow, spec)]
    for index, workflow in enumerate(spec.workflows):
        runs = (action.workflow for _, action in calls if isinstance(action, WorkflowActionSpec))
        if workflow.private and workflow.id not in runs:
            findings.warn(("workflows", index), f"workflow `{workflow.id}` is private, and nothing in the file runs it")
        if workflow.private and workflow.default:
            message = f"workflow `{workflow.id}` is private, so it is never the default"
            findings.warn(("workflows", index, "default"), message, key=True)
    for index, component in enumerate(spec.components):
        if isinstance(component, WorkflowComponentSpec) and all(component != used for used, _ in calls):
            findings.warn(("components", index), f"no job asks component `{component.name}`")


def check_recursion(spec: ComposeSpec, findings: Findings) -> None:
    """No workflow runs itself, straight or through others."""
    runs = {
        workflow.id: [action.workflow for _, action in asked(workflow, spec) if isinstance(action, WorkflowActionSpec)]
        for workflow in spec.workflows
    }
    circle = cycle(runs)
    if not circle:
        return
    index = next(index for index, workflow in enumerate(spec.workflows) if workflow.id == circle[0])
    itself = len(set(circle)) == 1
    message = (
        f"workflow `{circle[0]}` runs itself" if itself else f"these workflows run each other: {', '.join(circle)}"
    )
    findings.error(("workflows", index), message, "a `loop` job repeats something; a workflow cannot be inside itself")


def _names(job: JobSpec, here: Location, findings: Findings) -> Iterator[tuple[Location, str]]:
    """Where a job names others: what it waits for, and where it leads."""
    depends_on: Location = (*here, "depends_on")
    for index, item in enumerate(job.depends_on):
        is_text = isinstance(node_at(findings.root, depends_on), Scalar)
        at = depends_on if is_text else (*depends_on, index)
        if isinstance(item, str):
            yield at, item
        else:
            yield from (((*at, position), name) for position, name in enumerate(item))
    yield from (((*here, *location), name) for location, name in job.routes())


def _needs(job: JobSpec, jobs: dict[str, JobSpec]) -> list[list[str]]:
    """The groups of a job, without the jobs that do not exist."""
    try:
        read = jobs_read(job)
    except ExpressionError:
        read = ()
    known = ([name for name in group if name in jobs] for group in needs(job.groups, read))
    return [group for group in known if group]


def _listed(names: Iterable[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
