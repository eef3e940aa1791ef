"""Measures containers: how soon one is ready, and that a restart under load loses nothing."""

import statistics
import subprocess
import threading
import time
from collections.abc import Iterator

from benchmarks.images.bench import Bench, Row
from benchmarks.images.ours import SERVICES
from benchmarks.images.serving import Clients, free_ports, ready_s
from builders.container import PORTS
from infra.docker.container import project_id

_CLIENTS = 16
_BESIDE_S = 3.0
"""Load before the restart, and after it."""


def ready(bench: Bench) -> Iterator[Row]:
    """From `docker run` to the probe's yes."""
    bench.small.build("--output", "docker")
    images = [f"{bench.small.reference(service)}:latest" for service in SERVICES]
    ports = (PORTS["task"], PORTS["router"], PORTS["page"])
    task, router, page = (_ready(bench, image, port=port) for image, port in zip(images, ports, strict=True))
    theirs = _ready(bench, bench.stock_small.tag, restricted=False) if bench.stock else ""
    ours = f"{task} (router {router}, page {page})"
    yield Row("a container is ready, tiny model", "<= 4.5 s", ours, theirs)


def _ready(bench: Bench, image: str, *, port: int = PORTS["task"], restricted: bool = True) -> str:
    return f"{statistics.median(ready_s(image, port, restricted=restricted) for _ in range(bench.place.rounds)):.1f} s"


def sigterm(bench: Bench) -> Iterator[Row]:
    """Restarts the task's container while clients ask the router without a pause."""
    project = bench.small
    port, page_port = free_ports()
    environment = {"PORT": str(port), "PAGE_PORT": str(page_port)}
    clients = Clients(port, _CLIENTS)
    load = threading.Thread(target=clients.run)
    try:
        project.command("up", "--runtime", "docker", "--detach", environment=environment)
        load.start()
        time.sleep(_BESIDE_S)
        project.command("restart", "chat-completion", environment=environment)
        time.sleep(_BESIDE_S)
    finally:
        clients.stop()
        if load.ident is not None:
            load.join()
        project.command("down", environment=environment)
        volume = f"{project_id(project.folder)}-runs"
        subprocess.run(["docker", "volume", "rm", "--force", volume], check=False, capture_output=True)
    found = clients.load
    lost = ", ".join(f"{count} x {what}" for what, count in found.failed.items()) or "none"
    ours = f"{found.answered} answered, {found.refused} refused while it was away, lost: {lost}"
    ours += f"; the slowest answer took {found.slowest_s:.1f} s"
    yield Row(f"restart of a task under {_CLIENTS} clients", "no accepted run lost", ours)
