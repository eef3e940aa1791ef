"""From a component's settings to what a job calls."""

from collections.abc import Iterable
from typing import Any

from services.catalog import TASKS, TaskType
from services.router.expression import Template, Tree, compile_tree, walk
from services.router.graph import Action, Call, Component, GraphError, ModelCall, WorkflowCall
from services.router.settings import ActionSettings, ComponentSettings, WorkflowComponentSettings


class Components:
    """The components of one file. Raises GraphError for one that cannot work.

    models: those with a service of their own, by id.
    """

    def __init__(self, settings: Iterable[ComponentSettings | WorkflowComponentSettings]) -> None:
        self._settings = {item.id: item for item in settings}
        self.models = {
            item.id: _component(item) for item in self._settings.values() if isinstance(item, ComponentSettings)
        }

    def call(self, component_id: str, action_id: str, own_input: Any) -> Call:
        """A request to an action. own_input: the caller's template."""
        component = self._settings.get(component_id)
        if component is None:
            raise GraphError(f"there is no component {component_id!r}")
        action = next((action for action in component.actions if action.id == action_id), None)
        if action is None:
            raise GraphError(f"component {component_id!r} has no action {action_id!r}")
        if isinstance(action, ActionSettings):
            model = self.models[component_id]
            return ModelCall(model, model.actions[action_id], optional(own_input))
        return WorkflowCall(
            component_id, action.workflow, optional(own_input), optional(action.input), optional(action.output)
        )

    def described(self, component_id: str, action_id: str) -> dict[str, Any]:
        """What decides what a call does, as plain data: not where the component listens, nor how much it takes."""
        component = self._settings[component_id]
        action = next(action for action in component.actions if action.id == action_id)
        own = action.model_dump(mode="json", exclude={"default"})
        if isinstance(component, WorkflowComponentSettings):
            return own
        return {"task": component.task, "model": component.model, **own}


def optional(value: Any) -> Tree | None:
    """A template; None stays None."""
    return None if value is None else compile_tree(value)


def _component(settings: ComponentSettings) -> Component:
    task = TASKS.get(settings.task)
    if task is None:
        raise GraphError(f"component {settings.id!r} has the unknown task {settings.task!r}")
    return Component(
        settings.id,
        task,
        settings.model,
        settings.endpoint,
        {action.id: _action(action, task) for action in settings.actions},
        settings.max_concurrent_count,
        settings.max_queue_length,
        settings.may_sleep,
    )


def _action(settings: ActionSettings, task: TaskType) -> Action:
    constants: dict[str, Any] = {}
    templates: dict[str, Tree] = {}
    for name, value in settings.fields.items():
        field = task.field(name)
        if field is None:
            raise GraphError(f"action {settings.id!r} has the unknown field {name!r}")
        tree = compile_tree(value)
        if _has_template(tree):
            templates[name] = tree
        elif tree is not None:
            try:
                constants[name] = field.coerce(tree)
            except ValueError as error:
                raise GraphError(f"action {settings.id!r}: {name} {error}") from error
    return Action(settings.id, constants, templates, optional(settings.output), settings.streaming)


def _has_template(tree: Tree) -> bool:
    return isinstance(tree, Template) or next(iter(walk(tree)), None) is not None
