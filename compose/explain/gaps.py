"""Which expressions of a workflow can be null: they have no default, and what they read can be missing."""

from collections.abc import Callable, Iterator

from compose.blocks import Location
from compose.explain.explanation import Gap
from compose.explain.places import File, path_shown, read_by
from compose.explain.presence import Presence
from services.router.analysis.outputs import Opaque, Shape
from services.router.analysis.templates import calls, job_templates
from services.router.compiling.shapes import model_result
from services.router.expression import EACH, Expression, Slice, Step, Template, Tree, input_key, walk
from services.router.graph import Call, CallWork, FilterWork, ForEachWork, Graph, Job, LoopWork, ModelCall, Workflow
from services.router.names import fold
from services.router.settings import RouterSettings, asked

_Why = Callable[[Expression, set[str]], str | None]
"""Why an expression can be null, if it can. The names are those of the jobs that it reads, or that what it replaces
reads."""


def gaps(workflow: Workflow, graph: Graph, settings: RouterSettings, file: File) -> tuple[Gap, ...]:
    """Each expression once, in the order of the file's jobs; those of an action with the first job that asks it."""
    found: dict[tuple[str | None, str], Gap] = {}
    for location, tree, why in _templates(workflow, graph, settings):
        for use in walk(tree, location):
            end = None if use.in_default else _loose_end(use.expression)
            reason = why(*end) if end else None
            if end and reason:
                gap = Gap(file.place(use.location, end[0]), read_by(end[0]), end[0].text, reason)
                found.setdefault((gap.place, gap.expression), gap)
    return tuple(found.values())


def _loose_end(expression: Expression) -> tuple[Expression, set[str]] | None:
    """The last expression of a chain of defaults, unless text ends it, and the jobs that the chain reads."""
    jobs: set[str] = set()
    while True:
        if expression.source == "jobs":
            jobs.add(str(expression.path[0]))
        if expression.default is None:
            return expression, jobs
        if expression.default.whole is None:
            return None
        expression = expression.default.whole


def _templates(workflow: Workflow, graph: Graph, settings: RouterSettings) -> Iterator[tuple[Location, Tree, _Why]]:
    """Every template that a run renders, its place, and what its expressions may miss."""
    scope = _Scope(workflow, graph)
    number = list(graph.workflows).index(workflow.id)
    here: Location = ("workflows", number)
    for index, job in enumerate(workflow.jobs):
        for location, tree in job_templates(job):
            yield (*here, "jobs", index, *location), tree, scope.of_job(job, location)
        component, action = asked(settings.workflows[number].jobs[index]) or ("", "")
        for call in calls(job.work):
            for location, tree in _action_templates(call, component, action, settings):
                yield location, tree, scope.of_action(job, call)
    yield (*here, "output"), workflow.output, scope.of_output


def _action_templates(
    call: Call, component_id: str, action_id: str, settings: RouterSettings
) -> Iterator[tuple[Location, Tree]]:
    ids = [component.id for component in settings.components]
    component = settings.components[ids.index(component_id)]
    number = [action.id for action in component.actions].index(action_id)
    here: Location = ("components", ids.index(component_id), "actions", number)
    if isinstance(call, ModelCall):
        for name, tree in call.action.templates.items():
            yield (*here, name), tree
        yield (*here, "output"), call.action.output
    else:
        yield (*here, "input"), call.own_input
        yield (*here, "output"), call.output


class _Scope:
    """What the templates of one workflow may miss."""

    def __init__(self, workflow: Workflow, graph: Graph) -> None:
        self._workflow = workflow
        self._graph = graph
        self._presence = Presence(workflow)
        self._inputs = {fold(item.name): item for item in workflow.inputs.declared}

    def of_output(self, expression: Expression, jobs: set[str]) -> str | None:
        """Why an expression in the workflow's output can be null."""
        if expression.source == "output":
            ends = self._workflow.terminal
            if not ends or all(self._presence.absence(job, ends) for job in ends):
                return "no job is sure to give an output"
            known = any(self._part_of_job(self._job(job), expression.path) is None for job in ends)
            return None if known else _part("the output", expression.path)
        return self._common(expression, jobs)

    def of_job(self, job: Job, location: Location) -> _Why:
        """The same for a template of a job, which stands at `location` in it."""

        def why(expression: Expression, jobs: set[str]) -> str | None:
            match expression.source:
                case "input" if isinstance(job.work, LoopWork) and location[0] == "do":
                    return _part_of_iteration(job.work, expression.path)
                case "output":
                    return self._part_of_result(job, expression.path)
                case "item":
                    return self._part_of_item(job, expression.path)
                case "error" if location[0] != "on_error":
                    return self._no_error(job)
                case "jobs":
                    absence = self._presence.absence_in(job, str(expression.path[0]), jobs)
                    return absence or self._part_of_output(expression.path)
            return self._common(expression, jobs)

        return why

    def of_action(self, job: Job, call: Call) -> _Why:
        """The same for a template of the action that a job asks."""

        def why(expression: Expression, jobs: set[str]) -> str | None:
            match expression.source:
                case "result" | "output":
                    return self._part_of_inner(call, None, expression.path)
                case "input" if call.input is not None:
                    return self._given(job, call.input, expression)
                case "input" if isinstance(job.work, ForEachWork):
                    return self._part_of_item(job, expression.path)
                case "input" if isinstance(job.work, LoopWork):
                    return _part_of_iteration(job.work, expression.path)
            return self._common(expression, jobs)

        return why

    def _common(self, expression: Expression, jobs: set[str]) -> str | None:
        path = expression.path
        match expression.source:
            case "input" if path and isinstance(path[0], str):
                declared = self._inputs.get(fold(path[0]))
                if declared is None or not declared.required:
                    return f"the input {path[0]} is optional"
                return _part(f"the input {path[0]}", path[1:])
            case "input":
                return _part("the input", path)
            case "jobs":
                return self._presence.absence(str(path[0]), jobs) or self._part_of_output(path)
            case "context" if path[0] == "session_id":
                return "a run may have no session"
            case "context" if path[0] == "metadata":
                return "a run may have no metadata" if len(path) == 1 else _part("a run's metadata", path[1:])
        return None

    def _given(self, job: Job, mapping: Tree, expression: Expression) -> str | None:
        """Why what an action reads of its input is missing from what the job's mapping makes; the expressions of the
        mapping itself are told where they stand."""
        name, *rest = expression.path or ("",)
        if not isinstance(name, str) or not name:
            return None
        if isinstance(mapping, Template):
            whole = mapping.whole
            if whole is not None and whole.source == "input" and not whole.path:
                return self._common(expression, set())
            return _part(f"the input of {job.id}", expression.path) if whole is not None else None
        key = input_key(mapping, name) if isinstance(mapping, dict) else None
        if key is None:
            return f"{job.id} gives no {name}"
        return None if _is_written(mapping[key], tuple(rest)) else _part(f"the {key} that {job.id} gives", tuple(rest))

    def _part_of_item(self, job: Job, path: tuple[Step, ...]) -> str | None:
        """Of an item of the list that a job goes through, which another may have made by a mapping in the file."""
        while isinstance(job.work, FilterWork | ForEachWork) and isinstance(job.work.input, Template):
            whole = job.work.input.whole
            if whole is None or whole.source != "jobs" or len(whole.path) > 2:
                break
            job = self._job(str(whole.path[0]))
            if isinstance(job.work, ForEachWork) and job.output is None and _is_written(job.work.item_output, path):
                return None
            if not isinstance(job.work, FilterWork) or job.output is not None:
                break
        return _part("an item", path)

    def _no_error(self, job: Job) -> str | None:
        """Why a job that others lead to when they fail may find no error."""
        others = [other.id for other in self._workflow.jobs if job.id in other.targets]
        calm = [name for name in others if (failing := self._job(name).on_error) is None or failing.to != job.id]
        return f"{calm[0]} leads here without an error" if calm else None

    def _part_of_output(self, path: tuple[Step, ...]) -> str | None:
        """Why what `jobs.<id>.output...` leads to may be missing from an output that is there."""
        return self._part_of_job(self._job(str(path[0])), path[2:])

    def _part_of_job(self, job: Job, path: tuple[Step, ...]) -> str | None:
        """The same of a path into the output of one job."""
        if job.output is None:
            return self._part_of_result(job, path)
        return None if _is_written(job.output, path) else _part(f"the output of {job.id}", path)

    def _part_of_result(self, job: Job, path: tuple[Step, ...]) -> str | None:
        match job.work, path:
            case CallWork(repeat_count=None), _:
                return self._part_of_call(job.work.call, path)
            case CallWork(repeat_count=int(count)), (int(index), *rest) if -count <= index < count > 1:
                return self._part_of_call(job.work.call, tuple(rest))
            case CallWork() | ForEachWork() | FilterWork(), (step, *_) if step is EACH or isinstance(step, Slice):
                return None
            case LoopWork(), _ if _is_written(job.work.item_output, path):
                return None
        return _part(f"the result of {job.id}", path)

    def _part_of_call(self, call: Call, path: tuple[Step, ...]) -> str | None:
        return self._part_of_inner(call, call.action.output if isinstance(call, ModelCall) else call.output, path)

    def _part_of_inner(self, call: Call, mapping: Tree | None, path: tuple[Step, ...]) -> str | None:
        """Of what an action gives by its mapping, or without one of what it maps."""
        if mapping is None and isinstance(call, ModelCall):
            known = _is_answered(model_result(call), path)
        else:
            inner = None if isinstance(call, ModelCall) else self._graph.workflows[call.workflow].output
            known = _is_written(inner if mapping is None else mapping, path)
        return None if known else _part("the result", path)

    def _job(self, job_id: str) -> Job:
        return next(job for job in self._workflow.jobs if job.id == job_id)


def _is_written(tree: Tree | None, path: tuple[Step, ...]) -> bool:
    """Whether a mapping in the file itself has what the path asks of it."""
    for step in path:
        match tree, step:
            case dict(), str() if step in tree:
                tree = tree[step]
            case list(), int() if -len(tree) <= step < len(tree):
                tree = tree[step]
            case _:
                return False
    return True


def _is_answered(result: Shape, path: tuple[Step, ...]) -> bool:
    """Whether every answer of a model has what the path asks of it."""
    match result, path:
        case Opaque(type="list"), (step, *_):
            return step is EACH or isinstance(step, Slice)
        case dict(), (str() as name,):
            return name in result
    return False


def _part_of_iteration(work: LoopWork, path: tuple[Step, ...]) -> str | None:
    """Of the `input` inside a loop."""
    known = all(tree is not None and _is_written(tree, path) for tree in (work.input, work.item_output))
    return None if known else _part("what the loop begins with or gave last", path)


def _part(whole: str, path: tuple[Step, ...]) -> str | None:
    """A part that JSON need not have."""
    return f"{whole} may have no {path_shown(path)}" if path else None
