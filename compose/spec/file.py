"""The whole file: its controller, components and workflows."""

from compose.spec.base import Spec, chosen
from compose.spec.components import ComponentSpec, ModelComponentSpec
from compose.spec.controller import ControllerSpec, WebUiSpec
from compose.spec.jobs import ComponentJobSpec, JobSpec
from compose.written import Flag, Identifier, Template, Text


class WorkflowSpec(Spec):
    """Jobs, and what their outputs make together."""

    id: Identifier = "__workflow__"
    name: Text | None = None
    title: Text | None = None
    description: Text | None = None
    default: Flag = False
    private: Flag = False
    jobs: tuple[JobSpec, ...] = (ComponentJobSpec(),)
    output: Template = None


class ComposeSpec(Spec):
    """The whole file. Without a controller block the defaults hold and the page is shown."""

    controller: ControllerSpec = ControllerSpec(webui=WebUiSpec())
    components: tuple[ComponentSpec, ...]
    workflows: tuple[WorkflowSpec, ...] = (WorkflowSpec(),)

    @property
    def models(self) -> tuple[ModelComponentSpec, ...]:
        """The components that a process is started for."""
        return tuple(component for component in self.components if isinstance(component, ModelComponentSpec))

    def component(self, name: str | None) -> ComponentSpec | None:
        """The component of this id, or the one that is meant when none is named.

        The only component without an id answers to every id that no other one bears.
        """
        if name is None:
            return chosen(self.components)
        unnamed = [component for component in self.components if component.id is None]
        named = (component for component in self.components if component.id == name)
        return next(named, unnamed[0] if len(unnamed) == 1 else None)

    def workflow(self, name: str) -> WorkflowSpec | None:
        """The workflow of this id."""
        return next((workflow for workflow in self.workflows if workflow.id == name), None)
