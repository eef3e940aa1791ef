"""The few requests that we make to a Docker engine about containers, with errors that a person can read."""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from infra.docker.errors import LEAST_API, asking, too_old, unreachable
from infra.docker.images import Images, is_local

PROJECT_LABEL: Final = "model-compose.project"
SERVICE_LABEL: Final = "model-compose.service"
KIND_LABEL: Final = "model-compose.kind"
DIGEST_LABEL: Final = "model-compose.digest"

NO_HOST: Final = {"com.docker.network.bridge.inhibit_ipv4": "true"}
"""Options of a network where the engine's machine has no address; else containers reach all that listens on it."""

_TIMEOUT_S: Final = 60
_GRACE_S: Final = 30
_ENDED: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
"""What the engine answers for a container that is gone, or does not run any more."""
_LONG_POOL: Final = 100
"""Connections; each container whose output is followed holds one."""


@dataclass(frozen=True, slots=True)
class Found:
    """A container that the engine has.

    digest: of what it was made from. created_s: when, in seconds of the clock of the engine's machine.
    ports: that it publishes.
    """

    id: str
    service: str
    kind: str
    digest: str
    running: bool
    created_s: float = 0.0
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """How a container is. exit_code: meaningful once it has ended. pid: on the engine's machine, 0 for none.

    checked_at: when its last check ended, as the engine writes it; empty before. answer: what that printed.
    """

    running: bool
    exit_code: int
    out_of_memory: bool
    pid: int
    checked_at: str
    answer: str


class Engine:
    """A connection to an engine. All methods block, and raise EngineError. `connect` makes one.

    client: the library's own. images: those that it has.
    """

    def __init__(self, client: Any, address: str) -> None:
        self.client = client
        self.address = address
        self.images = Images(client, address)

    @property
    def is_local(self) -> bool:
        """Whether its containers are processes of this machine."""
        return is_local(self.address)

    @property
    def host(self) -> str | None:
        """The name of the machine that it is called at; None for one at a socket, whose ports are this machine's."""
        return urlsplit(self.address).hostname

    def close(self) -> None:
        self.client.close()

    def platform(self) -> str:
        """The machines whose images it runs, such as `linux/amd64`."""
        with asking(self.address, "say what machine it runs on"):
            found = self.client.version()
        return f"{found['Os']}/{found['Arch']}"

    def containers(self, project: str) -> list[Found]:
        """All of a project, whether they run or not."""
        with asking(self.address, "list containers"):
            listed = self.client.containers(all=True, filters={"label": f"{PROJECT_LABEL}={project}"})
        return [
            Found(
                each["Id"],
                each["Labels"].get(SERVICE_LABEL, ""),
                each["Labels"].get(KIND_LABEL, ""),
                each["Labels"].get(DIGEST_LABEL, ""),
                each["State"] == "running",
                each["Created"],
                tuple(port["PublicPort"] for port in each["Ports"] or () if "PublicPort" in port),
            )
            for each in listed
        ]

    def state(self, container: str) -> State | None:
        """None when there is no such container any more."""
        from docker.errors import NotFound

        with asking(self.address, "look at a container"):
            try:
                found = self.client.inspect_container(container)
            except NotFound:
                return None
        state = found["State"]
        last_check = ((state.get("Health") or {}).get("Log") or [{}])[-1]
        return State(
            running=state["Running"] or state["Restarting"],
            exit_code=state["ExitCode"],
            out_of_memory=state["OOMKilled"],
            pid=state["Pid"],
            checked_at=last_check.get("End", ""),
            answer=last_check.get("Output", ""),
        )

    def make_network(self, project: str, name: str, *, internal: bool) -> None:
        """Make it where it is absent; from an internal one nothing gets out, nor to the engine's machine."""
        options = dict(NO_HOST) if internal else None
        labels = {PROJECT_LABEL: project}
        with asking(self.address, f"make the network {name}"):
            if name not in self._networks(project):
                self.client.create_network(name, "bridge", options=options, internal=internal, labels=labels)

    def make_volume(self, project: str, name: str) -> None:
        """Make it where it is absent."""
        with asking(self.address, f"make the volume {name}"):
            self.client.create_volume(name, labels={PROJECT_LABEL: project})

    def remove_networks(self, project: str) -> tuple[str, ...]:
        """Returns the names of those that stay, because containers of somebody else are in them."""
        from docker.errors import APIError, NotFound

        used = []
        with asking(self.address, "remove networks"):
            for name, network in self._networks(project).items():
                try:
                    self.client.remove_network(network)
                except NotFound:
                    pass
                except APIError as error:
                    if "active endpoints" not in str(error.explanation):
                        raise
                    used.append(name)
        return tuple(used)

    def _networks(self, project: str) -> dict[str, str]:
        """The ids by the names."""
        listed = self.client.networks(filters={"label": f"{PROJECT_LABEL}={project}"})
        return {each["Name"]: each["Id"] for each in listed}

    def create(self, service: str, name: str, config: Mapping[str, Any]) -> str:
        """A container that does not run yet; its id."""
        with asking(self.address, f"make a container for {service}"):
            return str(self.client.create_container_from_config(dict(config), name)["Id"])

    def join(self, service: str, container: str, network: str, alias: str) -> None:
        """Put a container into one more network, under this name."""
        with asking(self.address, f"connect {service} to its network"):
            self.client.connect_container_to_network(container, network, aliases=[alias])

    def put(self, container: str, path: str, archive: bytes) -> None:
        """Unpack a tar archive into a folder of a container that can be written."""
        with asking(self.address, "write into a container"):
            self.client.put_archive(container, path, archive)

    def start(self, service: str, container: str) -> None:
        with asking(self.address, f"start {service}"):
            self.client.start(container)

    def output(self, container: str, since: float | None, *, stamped: bool = False) -> Iterator[bytes]:
        """What a container prints until it ends, in pieces.

        since: seconds of the engine's clock; None: from its start on. stamped: each line has its time before it, in
        UTC and always as long, and a space.
        """
        with asking(self.address, "read a container's output"):
            yield from self.client.logs(container, stream=True, since=since, timestamps=stamped)

    def run(self, container: str, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in a container that runs; its exit status and its standard output."""
        with asking(self.address, "ask a container"):
            id_ = self.client.exec_create(container, list(command), stderr=False)["Id"]
            printed: bytes = self.client.exec_start(id_)
            return self.client.exec_inspect(id_)["ExitCode"], printed.decode(errors="replace")

    def signal(self, container: str, name: str) -> None:
        """Send a signal; nothing happens to a container that has ended."""
        with asking(self.address, "signal a container"), _unless_ended():
            self.client.kill(container, name)

    def stop(self, service: str, container: str) -> None:
        """SIGTERM, and SIGKILL when it has not ended in the time that it was made with; one that is gone is stopped."""
        with asking(self.address, f"stop {service}"), _unless_ended():
            grace_s = self.client.inspect_container(container)["Config"].get("StopTimeout")
            self.client.stop(container, timeout=_GRACE_S if grace_s is None else grace_s)

    def remove(self, container: str) -> None:
        """Remove it with its anonymous volumes, killed where it runs; returns once it is gone."""
        from docker.errors import APIError

        with asking(self.address, "remove a container"):
            try:
                self.client.remove_container(container, v=True, force=True)
            except APIError as error:
                if error.status_code not in _ENDED:
                    raise
                if error.status_code == HTTPStatus.CONFLICT:  # somebody else is removing it
                    self._until_removed(container)

    def _until_removed(self, container: str) -> None:
        from docker.errors import NotFound

        with contextlib.suppress(NotFound):
            self.client.wait(container, timeout=_TIMEOUT_S, condition="removed")


def connect(environ: Mapping[str, str] = os.environ) -> Engine:
    """The engine that DOCKER_HOST names, else Docker's current context; raises EngineError."""
    import docker
    from docker.context import ContextAPI
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    settings: dict[str, Any] = {}
    try:
        settings = kwargs_from_env(environ) if environ.get("DOCKER_HOST") else ContextAPI.kwargs_from_context()
        settings.setdefault("base_url", "unix:///var/run/docker.sock")
        _knock(settings["base_url"])
        with contextlib.closing(docker.APIClient(**settings, version=_written(LEAST_API), timeout=_TIMEOUT_S)) as first:
            answer = first.version(api_version=False)
        version, api = str(answer["Version"]), tuple(int(part) for part in answer["ApiVersion"].split("."))
    except (DockerException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreachable(settings.get("base_url", "DOCKER_HOST"), error) from None
    if api < LEAST_API:
        raise too_old(version)
    client = docker.APIClient(**settings, version=_written(api), timeout=_TIMEOUT_S, max_pool_size=_LONG_POOL)
    return Engine(client, settings["base_url"])


@contextlib.contextmanager
def _unless_ended() -> Iterator[None]:
    """A container that is gone, or does not run any more, is no error."""
    from docker.errors import APIError

    try:
        yield
    except APIError as error:
        if error.status_code not in _ENDED:
            raise


def _knock(address: str) -> None:
    """Raises OSError when nobody listens at a socket; the library would wrap it, and leave a socket open."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(address.removeprefix("unix://"))


def _written(api: tuple[int, ...]) -> str:
    return ".".join(map(str, api))
