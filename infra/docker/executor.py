"""Carries out what `infra.docker.plan` says, and takes down what a project has in an engine; decides nothing."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from infra import net
from infra.docker.container import Container, network_name, volume_name
from infra.docker.engine import Engine, Found
from infra.docker.plan import Step


def make_room(engine: Engine, project: str, steps: Sequence[Step], containers: Iterable[Container]) -> None:
    """Remove what goes, and make what containers that come need around them.

    Raises UserError when that cannot be done, and for a port that somebody else has.
    """
    require_ports(engine, project, steps, containers)
    going = {container for step in steps for container in step.old}
    _end(engine, [container for container in engine.containers(project) if container.id in going])
    for container in containers:
        for volume in container.volumes.values():
            engine.make_volume(project, volume_name(project, volume))
    engine.make_network(project, network_name(project, "tasks"), internal=True)
    engine.make_network(project, network_name(project, "front"), internal=False)


def require_ports(engine: Engine, project: str, steps: Sequence[Step], containers: Iterable[Container]) -> None:
    """Raises as `require_port` does, for containers that come; a port of one that goes is as good as free."""
    kept = {step.service for step in steps if step.kept is not None}
    own = {port for found in engine.containers(project) for port in found.ports}
    for container in containers:
        if container.service not in kept and (container.published is None or container.published.port not in own):
            require_port(engine, container)


def require_port(engine: Engine, container: Container) -> None:
    """Raises UserError, naming the owner, when the port that is to be published is taken on this machine."""
    if container.published is not None and engine.is_local:
        net.require_free(container.service, container.published)


@dataclass(frozen=True, slots=True)
class TakenDown:
    """services: whose containers were removed. networks: that stay, because somebody else uses them."""

    services: tuple[str, ...]
    networks: tuple[str, ...]


def take_down(engine: Engine, project: str) -> TakenDown:
    """End and remove all of a project but its volumes."""
    found = engine.containers(project)
    _end(engine, found)
    return TakenDown(tuple(sorted({container.service for container in found})), engine.remove_networks(project))


def _end(engine: Engine, containers: Sequence[Found]) -> None:
    """What takes requests ends first, so that accepted ones finish, then the tasks behind it."""
    front = [container for container in containers if container.kind != "task"]
    tasks = [container for container in containers if container.kind == "task"]
    for group in (front, tasks):
        if group:
            with ThreadPoolExecutor(len(group)) as pool:
                list(pool.map(lambda container: _remove(engine, container), group))


def _remove(engine: Engine, container: Found) -> None:
    if container.running:
        engine.stop(container.service, container.id)
    engine.remove(container.id)
