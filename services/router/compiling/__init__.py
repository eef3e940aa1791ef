"""Makes the typed graph of the settings, once, when the router starts."""

from services.router.compiling.components import Components
from services.router.compiling.workflows import compile_workflows
from services.router.graph import Graph
from services.router.settings import RouterSettings


def compile_graph(settings: RouterSettings) -> Graph:
    """The graph of these settings; raises GraphError, or ExpressionError for a template that does not parse."""
    components = Components(settings.components)
    workflows = compile_workflows(settings.workflows, components)
    marked = [item.id for item in settings.workflows if item.default]
    chosen = list(workflows) if len(workflows) == 1 else marked
    return Graph(components.models, workflows, workflows[chosen[0]] if len(chosen) == 1 else None)
