"""Makes the typed graph of the settings, once, when the router starts."""

from services.router.compiling.components import Components
from services.router.compiling.workflows import compile_workflows
from services.router.graph import Graph
from services.router.settings import RouterSettings


def compile_graph(settings: RouterSettings) -> Graph:
    """The graph of these settings; raises GraphError, or ExpressionError for a template that does not parse."""
    components = Components(settings.components)
    workflows = compile_workflows(settings.workflows, components)
    public = [item for item in settings.workflows if not item.private]
    chosen = public if len(public) == 1 else [item for item in public if item.default]
    return Graph(components.models, workflows, workflows[chosen[0].id] if len(chosen) == 1 else None)
