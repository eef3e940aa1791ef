"""What a container is made from, said as data: one service of a project with its limits and its places in networks."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from infra.docker.engine import DIGEST_LABEL, KIND_LABEL, PROJECT_LABEL, SERVICE_LABEL
from infra.resources import Resources
from infra.unit import TcpAddress

USER: Final = 10001
"""Whom everything in a container runs as; no file in an image is its own."""

TMPFS: Final = {"/tmp": "rw,nosuid,nodev,noexec,size=512m,mode=1777"}  # noqa: S108  # inside a container
STAGES: Final = "/tmp/stages.json"  # noqa: S108  # inside a container
"""Where a router reads why a task does not answer."""
PROCESSES: Final = 2048
"""Threads are counted among them."""
LOGS: Final = {"max-size": "10m", "max-file": "3"}

CHECK_INTERVAL_S: Final = 10
"""Each check costs the start of an interpreter. A start is asked after by `up` itself."""
CHECK_TIMEOUT_S: Final = 20
CHECK_RETRIES: Final = 3

NO_LIMITS: Final = Resources()

Network = Literal["tasks", "front"]
"""From `tasks` nothing gets out; in `front` ports are published."""
NO_NAME_SERVER: Final = "127.0.0.1"
"""For a container that gets out nowhere: nobody answers there. Without it an engine may look names of the world up for
it, from its own machine."""


def project_name(folder: Path, longest: int = 40) -> str:
    """What a project is called among images, here and in registries: a DNS label, the same wherever its folder lies."""
    return re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:longest].rstrip("-") or "model-compose"


def project_id(folder: Path) -> str:
    """What everything of the project in `folder` is called in an engine: a DNS label, another one for each folder.

    It is the same by whatever path the folder is reached.
    """
    folder = folder.resolve()
    return f"{project_name(folder, 24)}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One service. host_name: what others call it. image: a reference, or an image's id.

    command: beside the image's entry point; None is the image's own. published: where it is reached from outside.
    volumes: the project's volumes by the folder where they are seen; they belong to the user of the container.
    """

    service: str
    kind: Literal["task", "router", "page"]
    image: str
    host_name: str
    port: int
    health_path: str
    networks: tuple[Network, ...]
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    published: TcpAddress | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = NO_LIMITS
    start_timeout_s: float = 600
    stop_timeout_s: float = 30

    @property
    def name_servers(self) -> list[str]:
        """Those of the world; names of its networks it always knows. Empty: the engine's own."""
        return [] if "front" in self.networks else [NO_NAME_SERVER]

    def name(self, project: str) -> str:
        return f"{project}-{self.host_name}"

    def config(self, project: str) -> dict[str, Any]:
        """The body of the engine's request to create it, with a digest of all the rest as a label."""
        config = self._config(project)
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        return {**config, "Labels": {**config["Labels"], DIGEST_LABEL: digest}}

    def digest(self, project: str) -> str:
        digest: str = self.config(project)["Labels"][DIGEST_LABEL]
        return digest

    def health_command(self) -> list[str]:
        return ["python3", "-P", "-S", "-m", "services.healthcheck", str(self.port), self.health_path]

    def _config(self, project: str) -> dict[str, Any]:
        port = f"{self.port}/tcp"
        network = network_name(project, self.networks[0])
        config = {
            "Image": self.image,
            "Hostname": self.host_name,
            "User": f"{USER}:{USER}",
            "Env": [f"{name}={value}" for name, value in sorted(self.environment.items())],
            "ExposedPorts": {port: {}},
            "StopSignal": "SIGTERM",
            "StopTimeout": round(self.stop_timeout_s),
            "Healthcheck": {
                "Test": ["CMD", *self.health_command()],
                "Interval": CHECK_INTERVAL_S * 10**9,
                "Timeout": CHECK_TIMEOUT_S * 10**9,
                "Retries": CHECK_RETRIES,
                "StartPeriod": round(self.start_timeout_s) * 10**9,
            },
            "Labels": {PROJECT_LABEL: project, SERVICE_LABEL: self.service, KIND_LABEL: self.kind},
            "HostConfig": self._host_config(project, port, network),
            "NetworkingConfig": {"EndpointsConfig": {network: {"Aliases": [self.host_name]}}},
        }
        return config if self.command is None else {**config, "Cmd": list(self.command)}

    def _host_config(self, project: str, port: str, network: str) -> dict[str, Any]:
        limits = self.resources
        published = self.published
        return {
            "Init": True,
            "ReadonlyRootfs": True,
            "Tmpfs": TMPFS,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "NanoCpus": round((limits.cpu or 0) * 10**9),
            "Memory": limits.memory_bytes or 0,
            "MemorySwap": limits.memory_bytes or 0,
            "PidsLimit": PROCESSES,
            "DeviceRequests": ([{"Count": limits.gpu_count, "Capabilities": [["gpu"]]}] if limits.gpu_count else []),
            "PortBindings": {port: [{"HostIp": published.host, "HostPort": str(published.port)}]} if published else {},
            "Mounts": [
                {"Type": "volume", "Source": volume_name(project, volume), "Target": path}
                for path, volume in sorted(self.volumes.items())
            ],
            "LogConfig": {"Type": "json-file", "Config": LOGS},
            "RestartPolicy": {"Name": "no"},
            "Dns": self.name_servers,
            "NetworkMode": network,
        }


def network_name(project: str, network: Network) -> str:
    return f"{project}-{network}"


def volume_name(project: str, volume: str) -> str:
    return f"{project}-{volume}"
