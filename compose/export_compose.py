"""`export compose`: the containers of a file as a compose.yaml, for `docker compose` on this machine or another one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from compose.containers import containers_of
from compose.image_settings import page_told, router_told
from compose.images import project_name, repository, services_of
from compose.output import Console
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
)
from infra.docker.engine import NO_HOST
from infra.files import not_writable
from infra.resources import Resources
from infra.secrets import is_secret_name

if TYPE_CHECKING:
    from compose.loader import Loaded

_HEADING: Final = """\
# Written by `model-compose export compose`.
# The images come from `model-compose build --output docker`, or from a registry: set `image` to where they were pushed.
"""


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


def _secrets(loaded: "Loaded", containers: Sequence[Container]) -> set[str]:
    """The variables whose values are left out: what the images leave out, and what is called like a secret."""
    told = [router_told(loaded), *([page_told(loaded)] if loaded.spec.controller.webui else [])]
    named = {name for container in containers for name in container.environment if is_secret_name(name)}
    return named.union(*(each.secrets for each in told))


def _service(container: Container, containers: Sequence[Container], secrets: set[str]) -> dict[str, Any]:
    published = container.published
    behind = [other.host_name for other in containers if other.kind == "router" and container.kind == "page"]
    service: dict[str, Any] = {
        "image": container.image,
        "user": f"{USER}:{USER}",
        "init": True,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": [f"{path}:{options}" for path, options in TMPFS.items()],
        "pids_limit": PROCESSES,
        "environment": {
            name: _variable(name) if name in secrets else value.replace("$", "$$")
            for name, value in sorted(container.environment.items())
        },
        "networks": list(container.networks),
        "dns": container.name_servers,
        "ports": [_port(container)] if published else [],
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


def _variable(name: str) -> str:
    """`docker compose` reads it from its environment, or from `.env` beside the file, and refuses to go without."""
    return f"${{{name}:?}}"


def _port(container: Container) -> dict[str, Any]:
    assert container.published is not None
    return {
        "host_ip": container.published.host,
        "published": str(container.published.port),
        "target": container.port,
    }


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
