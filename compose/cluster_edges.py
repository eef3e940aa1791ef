"""Who may come in to a cluster's services and whom they ask outside, and what whoever deploys them should know."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from compose.checks.hosts import is_loopback
from compose.containers import limits_of
from compose.plan import environment_of

if TYPE_CHECKING:
    from compose.loader import Loaded

_POSTGRES_PORT: Final = 5432
_COLLECTOR_PORT: Final = 4318
_COLLECTORS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def drain_s(loaded: "Loaded") -> float:
    """How long a router that must go waits for its runs: in a cluster pods go every day, and each has its own grace."""
    controller = loaded.spec.controller
    if "shutdown_timeout" in controller.model_fields_set:
        return controller.shutdown_timeout
    return max(controller.shutdown_timeout, controller.run_timeout or 0)


def reached_ports(loaded: "Loaded") -> Iterator[int]:
    """The ports of what the router asks outside of the export: its database, and whoever collects its traces."""
    yield from _database_ports(loaded)
    environment = environment_of(loaded.spec.controller.runtime)
    for name in _COLLECTORS:
        if name in environment:
            yield _port(environment[name]) or _COLLECTOR_PORT


def _database_ports(loaded: "Loaded") -> list[int]:
    """As libpq reads them: of several hosts each may have its own, and a socket of the machine has none."""
    controller = loaded.spec.controller
    if not controller.database.url:
        return []
    from psycopg import ProgrammingError  # here, as it loads libpq
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = conninfo_to_dict(controller.database.url)
    except ProgrammingError:
        return [_POSTGRES_PORT]
    hosts = str(given.get("hostaddr") or given.get("host") or "").split(",")
    ports = str(given.get("port") or environment_of(controller.runtime).get("PGPORT", "")).split(",")
    found = zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False)
    return sorted({_number(port) for host, port in found if not host.startswith(("/", "@"))})


def _number(port: str) -> int:
    return int(port) if port.isdecimal() else _POSTGRES_PORT


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


def is_exposed(loaded: "Loaded", hosts: Collection[str], *, has_page: bool) -> bool:
    """Whether there is a way in from outside: for those whom the router asks for a token, and by names it answers to.

    hosts: the DNS names of the file. has_page: whether the page is exported.
    """
    return _may_be_asked(loaded) and (bool(hosts) or _has_any_name(loaded, has_page=has_page))


def _may_be_asked(loaded: "Loaded") -> bool:
    auth = loaded.spec.controller.auth
    return bool(auth.token) or auth.insecure


def _has_any_name(loaded: "Loaded", *, has_page: bool) -> bool:
    """Whether router and page answer to whatever name they are asked by, as they do where they are for a network."""
    controller = loaded.spec.controller
    pages = [controller.webui.host] if controller.webui and has_page else []
    return not any(map(is_loopback, [controller.adapter.host, *pages]))


def notes(loaded: "Loaded", target: str, *, exposed: bool) -> Iterator[str]:
    """Sentences about what of the file is other in a cluster than it may seem. exposed: as `is_exposed` says."""
    yield from _notes_on_doors(loaded, exposed=exposed)
    yield from _notes_on_runs(loaded)
    yield from _notes_on_tasks(loaded, target)


def _notes_on_doors(loaded: "Loaded", *, exposed: bool) -> Iterator[str]:
    if not _may_be_asked(loaded):
        yield (
            "The file has no `controller.auth.token`, so `overlays/prod` has no way in from outside. Set one, "
            "build and export again to open it."
        )
    elif not exposed:
        yield (
            "The file has no DNS name in `controller.allowed_hosts`, so router and page would refuse whoever comes "
            "from outside, and `overlays/prod` has no way in. Set one, build and export again to open it."
        )


def _notes_on_runs(loaded: "Loaded") -> Iterator[str]:
    controller = loaded.spec.controller
    if controller.database.driver == "sqlite":
        yield (
            "Asynchronous runs are in a file on a volume, so there is one router, and an update stops it for a moment. "
            "With `controller.database: postgresql://...` there are several, and updates stop nothing."
        )
    if ports := _database_ports(loaded):
        yield (
            f"The router's way to its database is TCP port {', '.join(map(str, ports))}, as the file's `database` said "
            "when this was exported. Where the Secret names another one, change it in the NetworkPolicy `router`."
        )
    if controller.run_timeout and drain_s(loaded) < controller.run_timeout:
        yield (
            f"A router that must go waits {controller.shutdown_timeout:g} s for its runs (`shutdown_timeout`), which "
            f"may take {controller.run_timeout:g} s (`run_timeout`): an update ends those that take longer. Leave "
            "`shutdown_timeout` out, and a cluster waits for all of them."
        )


def _notes_on_tasks(loaded: "Loaded", target: str) -> Iterator[str]:
    for component in loaded.spec.models:
        scaling, gpus = component.scaling, limits_of(component).gpu_count
        if scaling and gpus and scaling.min < scaling.max:
            yield (
                f"`{component.name}` computes on GPUs, of which a cluster's own autoscaler knows nothing: KEDA decides "
                "how many pods it has, by the requests that the router has for it, so the cluster needs KEDA."
            )
        if scaling and scaling.min == 1 < scaling.max:
            yield (
                f"`{component.name}` has one pod while little is asked (`scaling.min: 1`), so a drained node stops it "
                "until another pod has loaded the model. With `min: 2` it goes on."
            )
    if target == "amd" and any(limits_of(component).gpu_count for component in loaded.spec.models):
        yield "The images need ROCm's build of torch: build them with `--index-url` of an index that has it."
