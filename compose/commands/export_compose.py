"""`export compose`: the containers of a file as a compose.yaml, for `docker compose` on this machine or another one."""

import ipaddress
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from compose.containers import containers_of
from compose.image_settings import page_told, router_told
from compose.images import repository, services_of
from compose.output import Console
from compose.reading.interpolation import to_data
from compose.state import Selection
from infra.docker.container import (
    CHECK_INTERVAL_S,
    CHECK_RETRIES,
    CHECK_TIMEOUT_S,
    LOGS,
    PROCESSES,
    TMPFS,
    USER,
    Container,
    project_name,
)
from infra.docker.engine import NO_HOST
from infra.errors import ExitCode, UserError
from infra.files import not_writable
from infra.resources import Resources
from infra.secrets import SHORTEST, is_secret_name
from infra.unit import TcpAddress

if TYPE_CHECKING:
    from compose.loader import Loaded

_HEADING: Final = """\
# Written by `model-compose export compose`.
# The images come from `model-compose build --output docker`, or from a registry: set `image` to where they were pushed.
"""

_NOTHING: Final = "(?!)"
"""A pattern that is found nowhere."""


def export_compose(selection: Selection, target: Path | None, tag: str, console: Console) -> None:
    """Write the file to `target`, or print it. Raises UserError."""
    text = compose_yaml(selection.load(console), tag)
    if target is None:
        console.text(text)
        return
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise not_writable(target, error) from None
    console.result(f"wrote {target}; next: docker compose -f {target} up --wait")


def compose_yaml(loaded: "Loaded", tag: str) -> str:
    """What `up --runtime docker` runs, with a variable wherever that has a secret. Raises UserError."""
    images = {service: f"{repository(loaded, service)}:{tag}" for service in services_of(loaded)}
    containers = containers_of(loaded, images)
    secrets = _secrets(loaded, containers)
    document = {
        "name": project_name(loaded.directory),
        "services": {container.host_name: _service(container, containers, secrets) for container in containers},
        "networks": {"tasks": {"internal": True, "driver_opts": dict(NO_HOST)}, "front": {}},
        "volumes": {volume: {} for container in containers for volume in container.volumes.values()},
    }
    body = yaml.safe_dump({key: value for key, value in document.items() if value}, sort_keys=False, width=120)
    return _HEADING + body


@dataclass(frozen=True, slots=True)
class _Secrets:
    """What no exported file tells.

    names: variables that hold nothing else. values: what the file reads from variables that are called like secrets, by
    their names; it may stand within any other variable.
    """

    names: Set[str]
    values: Mapping[str, str]

    def variable(self, name: str, value: str) -> str:
        """As the exported file has it, with references in place of secrets."""
        if name in self.names:
            return _reference(name)
        names = {_escaped(secret): name for name, secret in self.values.items()}
        any_secret = "|".join(re.escape(secret) for secret in sorted(names, key=len, reverse=True)) or _NOTHING
        return re.sub(any_secret, lambda found: _reference(names[found[0]]), _escaped(value))


def _secrets(loaded: "Loaded", containers: Sequence[Container]) -> _Secrets:
    told = [router_told(loaded), *([page_told(loaded)] if loaded.spec.controller.webui else [])]
    named = {name for container in containers for name in container.environment if is_secret_name(name)}
    read = to_data(loaded.root, loaded.env).used
    values = {name: value for name, value in read.items() if is_secret_name(name) and len(value) >= SHORTEST}
    return _Secrets(named.union(*(each.secrets for each in told)), values)


def _reference(name: str) -> str:
    """`docker compose` reads it from its environment, or from `.env` beside the file, and refuses to go without."""
    return f"${{{name}:?}}"


def _escaped(text: str) -> str:
    """`$` begins a reference."""
    return text.replace("$", "$$")


def _service(container: Container, containers: Sequence[Container], secrets: _Secrets) -> dict[str, Any]:
    published = container.published
    behind = [other.host_name for other in containers if other.kind == "router" and container.kind == "page"]
    service: dict[str, Any] = {
        "image": container.image,
        "hostname": container.host_name,
        "user": f"{USER}:{USER}",
        "init": True,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "tmpfs": [f"{path}:{options}" for path, options in TMPFS.items()],
        "pids_limit": PROCESSES,
        "environment": {name: secrets.variable(name, value) for name, value in sorted(container.environment.items())},
        "networks": list(container.networks),
        "dns": container.name_servers,
        "ports": [_port(container, published)] if published else [],
        "volumes": [f"{volume}:{path}" for path, volume in sorted(container.volumes.items())],
        **_limits(container.resources),
        "healthcheck": {
            "test": ["CMD", *container.health_command()],
            "interval": f"{CHECK_INTERVAL_S}s",
            "timeout": f"{CHECK_TIMEOUT_S}s",
            "retries": CHECK_RETRIES,
            "start_period": f"{container.start_timeout_s:g}s",
        },
        "depends_on": behind,
        "restart": "unless-stopped",
        "stop_grace_period": f"{container.stop_timeout_s:g}s",
        "logging": {"driver": "json-file", "options": dict(LOGS)},
    }
    return {key: value for key, value in service.items() if value not in ([], {})}


def _port(container: Container, published: TcpAddress) -> dict[str, Any]:
    """A name is not looked up: it may be another address where the file is used."""
    host = "127.0.0.1" if published.host == "localhost" else published.host.strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise UserError(
            f"`{host}`, where {container.service} listens, is a name, and docker compose publishes at addresses only",
            hint="write an address of the machine that will run it as `host`, or 0.0.0.0 for all of them",
            exit_code=ExitCode.FILE,
        ) from None
    return {"host_ip": host, "published": str(published.port), "target": container.port}


def _limits(resources: Resources) -> Mapping[str, Any]:
    limits: dict[str, Any] = {}
    if resources.cpu is not None:
        limits["cpus"] = resources.cpu
    if resources.memory_bytes is not None:
        limits |= {"mem_limit": resources.memory_bytes, "memswap_limit": resources.memory_bytes}
    if resources.gpu_count:
        devices = [{"driver": "nvidia", "count": resources.gpu_count, "capabilities": ["gpu"]}]
        limits["deploy"] = {"resources": {"reservations": {"devices": devices}}}
    return limits
