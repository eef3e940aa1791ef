"""`explain`: the workflows of a file as they will run, without fetching or starting anything."""

import json
from dataclasses import asdict
from functools import partial
from typing import Final

from compose.explain.explanation import Explanation
from compose.explain.gaps import gaps
from compose.explain.places import File, read_by
from compose.explain.steps import steps
from compose.explain.text import lines
from compose.loader import Loaded
from compose.output import Console
from compose.routing import router_settings
from compose.state import Selection
from infra.errors import ExitCode, UserError
from services.router.compiling import compile_graph
from services.router.expression import walk
from services.router.graph import Graph, Workflow
from services.router.names import closest
from services.router.settings import RouterSettings

_BOLD: Final = "1"
_FAINT: Final = "2"


def explain(selection: Selection, workflow: str | None, console: Console, *, as_json: bool) -> None:
    """Print one workflow, or all of them; private ones too. Raises UserError when there is none of this name."""
    found = explanations(selection.load(console), workflow)
    if as_json:
        console.result(json.dumps({"workflows": [asdict(item) for item in found]}, indent=2, ensure_ascii=False))
        return
    heading, label = (partial(console.paint, console.out, colour=colour) for colour in (_BOLD, _FAINT))
    blocks = ("\n".join(lines(item, heading, label)) for item in found)
    console.result("\n\n".join(blocks))


def explanations(loaded: Loaded, name: str | None = None) -> list[Explanation]:
    """The workflows of a file, or the one of this name; raises UserError when there is none."""
    endpoints = {component.name: "" for component in loaded.spec.components}
    settings = router_settings(loaded, endpoints, loaded.directory / "unused")
    graph = compile_graph(settings)
    if name is not None and name not in graph.workflows:
        meant = closest(name, graph.workflows)
        hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(graph.workflows)}"
        raise UserError(f"there is no workflow `{name}`", hint=hint, exit_code=ExitCode.USAGE)
    chosen = graph.workflows.values() if name is None else [graph.workflows[name]]
    return [_explanation(workflow, graph, settings, File(loaded.root)) for workflow in chosen]


def _explanation(workflow: Workflow, graph: Graph, settings: RouterSettings, file: File) -> Explanation:
    written = next(item for item in settings.workflows if item.id == workflow.id)
    return Explanation(
        workflow.id,
        workflow.schema["title"],
        workflow.schema["description"],
        workflow is graph.default and len(graph.workflows) > 1,
        workflow.private,
        tuple(workflow.schema["input"]),
        steps(workflow, written, graph),
        _output(workflow),
        gaps(workflow, graph, settings, file),
    )


def _output(workflow: Workflow) -> tuple[str, ...]:
    if workflow.output is None:
        return tuple("output" if job == "__job__" else f"jobs.{job}.output" for job in workflow.terminal)
    return tuple(dict.fromkeys(read_by(use.expression) for use in walk(workflow.output)))
