"""Carries out what `infra.docker.plan` says, and takes down what a project has in an engine; decides nothing."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from infra import net
from infra.docker.container import Container, network_name, volume_name
from infra.docker.engine import Engine, Found
from infra.docker.plan import Step


def make_room(engine: Engine, project: str, steps: Sequence[Step], containers: Iterable[Container]) -> None:
    """Remove what goes, and make what containers that come need around them.

    Raises UserError when that cannot be done, and for a port that somebody else has.
    """
    going = {container for step in steps for container in step.old}
    _end(engine, [container for container in engine.containers(project) if container.id in going])
    kept = {step.service for step in steps if step.kept is not None}
    for container in containers:
        if container.service not in kept:
            require_port(engine, container)
            for volume in container.volumes.values():
                engine.make_volume(project, volume_name(project, volume))
    engine.make_network(project, network_name(project, "tasks"), internal=True)
    engine.make_network(project, network_name(project, "front"), internal=False)


def require_port(engine: Engine, container: Container) -> None:
    """Raises UserError, naming the owner, when the port that is to be published is taken on this machine."""
    if container.published is not None and engine.is_local:
        net.listen(container.service, container.published).close()


def take_down(engine: Engine, project: str) -> tuple[str, ...]:
    """End and remove all of a project but its volumes; returns the services that were there."""
    found = engine.containers(project)
    _end(engine, found)
    engine.remove_networks(project)
    return tuple(sorted({container.service for container in found}))


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
