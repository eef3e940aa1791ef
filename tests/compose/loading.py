"""Short ways from a file's text to what the router is told."""

from pathlib import Path
from textwrap import dedent
from typing import Any, Literal

from compose.loader import Loaded, load_spec
from compose.plan import ModelState, ObservedState, Plan, make_plan
from infra.state import RunState, this_process
from services.router.settings import ComponentJobSettings, ComponentSettings, RouterSettings, WorkflowSettings


def load(folder: Path, text: str, **environ: str) -> Loaded:
    """The file of this text, read in an environment of just these variables."""
    (folder / "model-compose.yml").write_text(dedent(text), encoding="utf-8")
    return load_spec(environ=environ, directory=folder)


def observe(loaded: Loaded, **states: ModelState) -> ObservedState:
    """A machine that has every model but those given."""
    models = {component.name: ModelState(Path("/models/here")) for component in loaded.spec.models}
    return ObservedState(Path("/project"), Path("/sockets"), models | states)


def run_state(runtime: Literal["process", "docker"], sockets: Path) -> RunState:
    """A run that this process keeps up."""
    return RunState(
        tool_version="1",
        supervisor=this_process(),
        started_at="2026-01-01T00:00:00+00:00",
        spec_digest="",
        files={},
        api_url="",
        page_url=None,
        socket_directory=str(sockets),
        stop_timeout_s=1,
        runtime=runtime,
    )


def plan(loaded: Loaded) -> Plan:
    return make_plan(loaded, observe(loaded))


def router(loaded: Loaded) -> RouterSettings:
    """What the router reads at start."""
    unit = next(unit for unit in plan(loaded).units if unit.kind == "router")
    return RouterSettings.model_validate_json(unit.settings)


def models(loaded: Loaded) -> list[ComponentSettings]:
    """What the router is told of the model components."""
    return [component for component in router(loaded).components if isinstance(component, ComponentSettings)]


def calls(workflow: WorkflowSettings) -> list[ComponentJobSettings]:
    """The component jobs of a workflow."""
    return [job for job in workflow.jobs if isinstance(job, ComponentJobSettings)]


def fields(loaded: Loaded) -> dict[str, Any]:
    """The fields of the only action of the only component."""
    (component,) = models(loaded)
    (action,) = component.actions
    return action.fields
