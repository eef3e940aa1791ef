"""What a workflow uses: the components that its jobs ask, and the workflows that those run in turn."""

from collections.abc import Iterator
from dataclasses import dataclass

from compose.spec import (
    ActionSpec,
    ComponentSpec,
    ComposeSpec,
    WorkflowActionSpec,
    WorkflowComponentSpec,
    WorkflowSpec,
)

Asked = tuple[ComponentSpec, ActionSpec | WorkflowActionSpec]
"""A component and one of its actions."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Everything that one run may reach, in file order; the workflow itself included."""

    components: tuple[ComponentSpec, ...]
    workflows: tuple[WorkflowSpec, ...]


def used_by(workflow: WorkflowSpec, spec: ComposeSpec) -> Usage:
    """What a run of this workflow may reach."""
    reached = [workflow]
    components: list[ComponentSpec] = []
    for current in reached:
        for component, _ in asked(current, spec):
            components.append(component)
            if isinstance(component, WorkflowComponentSpec):
                found = (spec.workflow(action.workflow) for action in component.actions)
                reached += [other for other in found if other and other not in reached]
    return Usage(
        tuple(component for component in spec.components if component in components),
        tuple(other for other in spec.workflows if other in reached),
    )


def asked(workflow: WorkflowSpec, spec: ComposeSpec) -> Iterator[Asked]:
    """What the jobs of a workflow ask themselves; names that lead nowhere are passed over."""
    for job in workflow.jobs:
        component = spec.component(job.call.component) if job.call else None
        action = component.action(job.call.action) if job.call and component else None
        if component and action:
            yield component, action
