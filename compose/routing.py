"""What the router is told of the file: components, workflows, and the variables that their templates read."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from compose.jobs import job_settings
from compose.spec import (
    ActionSpec,
    ComponentSpec,
    ComposeSpec,
    DatabaseSpec,
    ModelComponentSpec,
    WorkflowActionSpec,
    WorkflowComponentSpec,
    WorkflowSpec,
)
from compose.templates import constant, environment_read, is_constant, typed, with_defaults
from services.catalog import GENERATION, TASKS
from services.router.settings import (
    ActionSettings,
    ComponentSettings,
    PostgresSettings,
    RouterSettings,
    SqliteSettings,
    WorkflowActionSettings,
    WorkflowComponentSettings,
    WorkflowSettings,
)

if TYPE_CHECKING:
    from compose.loader import Loaded

_FLAG: Final = GENERATION["streaming"]


def router_settings(
    loaded: "Loaded", endpoints: Mapping[str, str], runs_path: Path, stages_path: Path | None = None
) -> RouterSettings:
    """Everything that the router reads at start.

    endpoints: where each model component's service listens, by its name. runs_path: where runs are kept, unless in
    PostgreSQL. stages_path: where a supervisor says how far tasks are that do not answer yet.
    """
    spec = loaded.spec
    controller = spec.controller
    adapter = controller.adapter
    return RouterSettings(
        name=controller.name,
        host=adapter.host,
        port=adapter.port,
        base_path=adapter.base_path,
        origins=adapter.origins,
        allowed_hosts=controller.allowed_hosts,
        auth_token=controller.auth.token or None,
        max_concurrent_count=controller.max_concurrent_count,
        max_queue_length=controller.max_queue_length,
        max_body_bytes=controller.max_body_size,
        run_timeout_s=controller.run_timeout,
        retention_s=controller.retention,
        shutdown_timeout_s=controller.shutdown_timeout,
        database=_database(loaded.spec.controller.database, runs_path),
        components=tuple(_component(component, spec, endpoints) for component in spec.components),
        workflows=tuple(_workflow(workflow, spec) for workflow in spec.workflows),
        env={name: loaded.env[name] for name in sorted(environment_read(spec)) if name in loaded.env},
        stages_path=str(stages_path) if stages_path else None,
    )


def _database(database: DatabaseSpec, runs_path: Path) -> SqliteSettings | PostgresSettings:
    if database.driver == "postgres":
        return PostgresSettings(driver="postgres", url=database.url or "")
    return SqliteSettings(path=str(runs_path))


def _component(
    component: ComponentSpec, spec: ComposeSpec, endpoints: Mapping[str, str]
) -> ComponentSettings | WorkflowComponentSettings:
    is_default = component.default or len(spec.components) == 1
    if isinstance(component, WorkflowComponentSpec):
        return WorkflowComponentSettings(
            type="workflow",
            id=component.name,
            default=is_default,
            actions=tuple(_workflow_action(action, component) for action in component.actions),
        )
    return ComponentSettings(
        id=component.name,
        task=component.task,
        model=component.model.name,
        endpoint=endpoints[component.name],
        default=is_default,
        actions=tuple(_action(action, component) for action in component.actions),
        max_concurrent_count=component.max_concurrent_count,
        max_queue_length=component.max_queue_length,
        may_sleep=component.scaling is not None and component.scaling.min == 0,
    )


def _action(action: ActionSpec, component: ModelComponentSpec) -> ActionSettings:
    task = TASKS[component.task]
    fields = typed(task, with_defaults(task, action.fields))
    streaming = is_constant(fields.get("streaming")) and _FLAG.coerce(constant(fields.pop("streaming", False)))
    return ActionSettings(
        id=action.id,
        default=action.default or len(component.actions) == 1,
        fields=fields,
        output=action.output,
        streaming=streaming,
    )


def _workflow_action(action: WorkflowActionSpec, component: WorkflowComponentSpec) -> WorkflowActionSettings:
    return WorkflowActionSettings(
        id=action.id,
        default=action.default or len(component.actions) == 1,
        workflow=action.workflow,
        input=action.input,
        output=action.output,
    )


def _workflow(workflow: WorkflowSpec, spec: ComposeSpec) -> WorkflowSettings:
    return WorkflowSettings(
        id=workflow.id,
        name=workflow.name,
        title=workflow.title,
        description=workflow.description,
        default=workflow.default or len(spec.workflows) == 1,
        private=workflow.private,
        jobs=tuple(job_settings(job, spec) for job in workflow.jobs),
        output=workflow.output,
    )
