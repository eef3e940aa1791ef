"""What `up` does where services run in containers: which images, what changes in the engine, and what is left of it."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builders.container import MODULES
from compose.checks.hosts import is_loopback, url
from compose.containers import containers_of
from compose.image_settings import page_told, router_told
from compose.images import image_name, services_of
from compose.output import Console
from compose.plan import Plan, Step
from compose.surroundings import surroundings, tracing
from infra import net
from infra.control import RELEASE, Command, send
from infra.docker.container import Container, project_id
from infra.docker.engine import Engine, connect
from infra.docker.errors import EngineError
from infra.docker.executor import make_room, require_ports, take_down
from infra.docker.plan import Step as EngineStep
from infra.docker.plan import reconcile
from infra.docker.runtime import DockerRuntime
from infra.errors import ExitCode, UserError
from infra.folder import RunFolder
from infra.state import RunState
from infra.unit import TcpAddress, Unit
from services.withheld import read_settings

if TYPE_CHECKING:
    from compose.loader import Loaded

_RELEASE_S = 20.0
"""How long another `up` may take to let go of its containers."""
_POLL_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class ContainerRun:
    """What is wanted of an engine for one project, and what it takes to get there."""

    engine: Engine
    project: str
    containers: tuple[Container, ...]
    steps: tuple[EngineStep, ...]


def images_of(loaded: "Loaded", engine: Engine, console: Console) -> Mapping[str, str]:
    """The id of each service's image, once the engine has it as the file wants it. Raises UserError."""
    from compose.commands.build import bring_images

    return bring_images(loaded, engine, console)


def plan_containers(loaded: "Loaded", images: Mapping[str, str], engine: Engine) -> tuple[Plan, ContainerRun]:
    """What has to be done so that the engine runs the file.

    images: the id of each service's image, which the engine has; its name may be another project's by now.
    Raises UserError.
    """
    run = reconciled(loaded, images, engine)
    controller = loaded.spec.controller
    host = _elsewhere(engine)
    api_url = url(host or controller.adapter.host, controller.adapter.port) + controller.adapter.base_path
    page_url = url(host or controller.webui.host, controller.webui.port) if controller.webui else None
    units = tuple(_unit(container, loaded, host) for container in run.containers)
    steps = shown_steps(loaded, run)
    return Plan(units, steps, api_url, page_url, loaded.digest, elsewhere=host is not None), run


def _elsewhere(engine: Engine) -> str | None:
    """The host on which the engine publishes ports, when that is another machine."""
    return None if engine.host is None or is_loopback(engine.host) else engine.host


def reconciled(loaded: "Loaded", ids: Mapping[str, str], engine: Engine) -> ContainerRun:
    """What the file wants of the engine. ids: of each service's image, which need not be there. Raises UserError."""
    containers = tuple(map(_on_this_machine, containers_of(loaded, ids)))
    project = project_id(loaded.directory)
    wanted = {container.service: container.digest(project) for container in containers}
    return ContainerRun(engine, project, containers, reconcile(wanted, engine.containers(project)))


def shown_steps(loaded: "Loaded", run: ContainerRun) -> tuple[Step, ...]:
    """As users read them."""
    images = {service: image_name(loaded, service) for service in services_of(loaded)}
    return tuple(
        Step(step.verb, step.service, images.get(step.service, "a container"), step.cause) for step in run.steps
    )


def _on_this_machine(container: Container) -> Container:
    """Told of its surroundings, and published at an address in numbers, which is this machine's to look up."""
    told = surroundings(os.environ) | (tracing(os.environ) if container.kind == "router" else {})
    container = replace(container, environment={**told, **container.environment})
    if container.published is None:
        return container
    return replace(container, published=net.resolved(container.service, container.published))


def _unit(container: Container, loaded: "Loaded", host: str | None) -> Unit:
    """host: of published addresses, where it is another machine's."""
    address = container.published or TcpAddress(container.host_name, container.port)
    return Unit(
        name=container.service,
        kind=container.kind,
        module=MODULES[container.kind],
        settings=_settings(container, loaded),
        address=replace(address, host=host) if host and container.published else address,
        ready_path=container.health_path,
        environment=container.environment,
        start_timeout_s=container.start_timeout_s,
        stop_timeout_s=container.stop_timeout_s,
        memory_limited=container.resources.memory_bytes is not None,
    )


def _settings(container: Container, loaded: "Loaded") -> str:
    """What the service reads, with its secrets: this machine's commands need the router's token, and no task's."""
    if container.kind == "task":
        return "{}"
    told = router_told(loaded) if container.kind == "router" else page_told(loaded)
    return json.dumps(read_settings(told.settings, told.secrets))


def require_room(run: ContainerRun) -> None:
    """Raises UserError for what would keep the containers from running, before anything is changed for them."""
    require_ports(run.engine, run.project, run.steps, run.containers)


def take_over(running: RunState) -> None:
    """Have the run of another `up` end without its containers. Raises UserError when it does not in time."""
    deadline = time.monotonic() + _RELEASE_S
    with contextlib.suppress(TimeoutError):
        asyncio.run(asyncio.wait_for(send(Path(running.socket_directory), Command(RELEASE, ())), _RELEASE_S))
    while running.supervisor.is_alive():
        if time.monotonic() > deadline:
            raise UserError(
                f"the `up` that runs already (process {running.supervisor.pid}) does not let go of its containers",
                hint="`model-compose down` ends it and them",
                exit_code=ExitCode.ENVIRONMENT,
            )
        time.sleep(_POLL_INTERVAL_S)


@contextlib.asynccontextmanager
async def container_runtime(run: ContainerRun, folder: RunFolder, console: Console) -> AsyncIterator[DockerRuntime]:
    """The runtime inside the block, once the engine has what its containers need.

    Where no container is left after it, neither are networks; an engine that is away by then is asked no more.
    """
    folder.containers.write_text(run.project + "\n", encoding="ascii")
    making = asyncio.ensure_future(
        asyncio.to_thread(make_room, run.engine, run.project, run.steps, run.containers),
    )
    try:
        await asyncio.shield(making)
        wanted = {container.service: container for container in run.containers}
        running = {step.service: step.kept for step in run.steps if step.kept is not None}
        yield DockerRuntime(run.engine, run.project, wanted, running)
    finally:
        await asyncio.gather(making, return_exceptions=True)  # its thread goes on also when nobody waits any more
        with contextlib.suppress(EngineError):  # what is left then is told by whoever looks for `folder.containers`
            if not await asyncio.to_thread(run.engine.containers, run.project):
                _warn_of(await asyncio.to_thread(run.engine.remove_networks, run.project), console)
                folder.containers.unlink(missing_ok=True)


def remove_containers(directory: Path, folder: RunFolder, console: Console) -> tuple[str, ...]:
    """Take down what a run has left in the engine; returns the services. Raises EngineError."""
    project = folder.containers.read_text(encoding="ascii").strip() or project_id(directory)
    with contextlib.closing(connect()) as engine:
        gone = take_down(engine, project)
    _warn_of(gone.networks, console)
    folder.containers.unlink(missing_ok=True)
    return gone.services


def _warn_of(networks: Sequence[str], console: Console) -> None:
    for network in networks:
        console.warn(
            f"the network {network} stays, because containers of somebody else are in it; once they are gone,"
            f" `docker network rm {network}` removes it"
        )
