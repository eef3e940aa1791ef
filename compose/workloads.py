"""What the services of a file are in a cluster: their share of it, how many there are, and whom they may ask."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from builders.container import PORTS, STATE
from builders.lock import LOCK_FILE, Lock, LockedModel, model_name
from compose.cluster_edges import drain_s, is_exposed, notes, reached_ports
from compose.containers import limits_of
from compose.image_settings import host_name, page_told, router_told
from compose.plan import environment_of, start_timeout_s, stop_timeout_s
from compose.reading.nodes import mark_at
from compose.spec import ModelComponentSpec
from infra.errors import ExitCode, UserError
from infra.kubernetes.workload import MARGIN_S, Claim, Export, Gpu, ImageVolume, Scaling, Share, Workload
from infra.resources import Resources, write_memory
from infra.secrets import is_secret_name
from services.engine.continuous.memory import ROWS
from services.engine.loading.precision import BYTES
from services.withheld import IN_CLUSTER, SHUTDOWN_TIMEOUT, withheld

if TYPE_CHECKING:
    from compose.loader import Loaded

Target = Literal["cpu", "nvidia", "amd"]

_MI: Final = 2**20
_GI: Final = 2**30
_WEIGHTS_SHARE: Final = 1.3
"""Bytes of memory for each byte of weights."""
_BESIDE_WEIGHTS: Final = _GI

_READ_PER_S: Final = 50_000_000
"""Bytes of weights that a slow disk gives in a second, when nobody has read them before."""
_BESIDE_READING_S: Final = 20
_PATIENCE: Final = 3
"""How many times as long as expected a start may take."""

_TASK_CPU: Final = 2.0
_ROUTER_SHARE: Final = Share(cpu_request=0.25, cpu_limit=2, memory_bytes=_GI)
_PAGE_SHARE: Final = Share(cpu_request=0.1, cpu_limit=1, memory_bytes=_GI)
_FEWEST_ROUTERS: Final = 2
_MORE_ROUTERS: Final = 3
"""How many times as many there are under load."""
_RUNS_BYTES: Final = 5 * _GI

_MOST_HOSTS: Final = 64
_DNS_NAME: Final = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?", re.ASCII)
"""No address, and no name of one machine: what a route may be for."""


@dataclass(frozen=True, slots=True)
class ClusterImage:
    """reference: with tag and digest. architecture: as nodes are labelled. volume: it in two, where it has weights.

    built: what this machine calls it, without a tag.
    """

    reference: str
    architecture: str
    volume: ImageVolume | None = None
    built: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where an export is for. replicas: how many of each there are, where the file does not say and several may be.

    gpu_label: the key under which nodes say which GPU they have; None for that of the vendor's own tools.
    """

    name: str
    namespace: str
    target: Target
    replicas: int | None = None
    gpu_label: str | None = None


@dataclass(frozen=True, slots=True)
class _Variables:
    """What the file gives a service, and which of it is a secret."""

    values: Mapping[str, str]
    secret: frozenset[str]


def export_of(loaded: "Loaded", lock: Lock | None, images: Mapping[str, ClusterImage], cluster: Cluster) -> Export:
    """Everything of the file that a cluster is told.

    lock: with the sizes of its models. images: by service; the page is left out when it has none.

    Raises UserError (exit 3) for what the cluster could not hold, and for a secret that would be seen in an image.
    """
    controller = loaded.spec.controller
    tasks = [_task(loaded, component, lock, images[component.name], cluster) for component in loaded.spec.models]
    workloads = [*tasks, _router(loaded, images["router"], [task.name for task in tasks], cluster)]
    if "page" in images:
        workloads.append(_page(loaded, images["page"]))
    given = {workload.service: _variables(loaded, workload.service) for workload in workloads}
    keys = {service: _secret_keys(service, given) for service in given}
    token = withheld(router_told(loaded).settings).get("auth_token")
    hosts = tuple(sorted({host.lower() for host in controller.allowed_hosts if _DNS_NAME.fullmatch(host.lower())}))
    if len(hosts) > _MOST_HOSTS:
        raise UserError(
            f"{mark_at(loaded.root, ('controller', 'allowed_hosts'))}: a Gateway has {_MOST_HOSTS} names at most, and "
            f"these are {len(hosts)}",
            hint="leave some out",
            exit_code=ExitCode.FILE,
        )
    exposed = is_exposed(loaded, hosts, has_page="page" in images)
    return Export(
        name=cluster.name,
        namespace=cluster.namespace,
        workloads=tuple(_told(workload, given[workload.service], keys[workload.service]) for workload in workloads),
        hosts=hosts,
        token=keys["router"][token] if token else None,
        exposed=exposed,
        base_path=controller.adapter.base_path,
        notes=tuple(notes(loaded, cluster.target, exposed=exposed)),
    )


def _task(
    loaded: "Loaded", component: ModelComponentSpec, lock: Lock | None, image: ClusterImage, cluster: Cluster
) -> Workload:
    runtimes = (loaded.spec.controller.runtime, component.runtime)
    limits = limits_of(component)
    model = _locked(component, lock)
    cpu = limits.cpu or _TASK_CPU
    load_s = _BESIDE_READING_S + (model.weights_bytes or 0) / _READ_PER_S
    scaling, gpu = component.scaling, _gpu(loaded, component, limits, cluster)
    return Workload(
        service=component.name,
        kind="task",
        name=host_name(component.name),
        image=image.reference,
        built=image.built,
        architecture=image.architecture,
        port=PORTS["task"],
        share=Share(
            cpu_request=cpu,
            cpu_limit=cpu,
            memory_bytes=_memory_bytes(loaded, component, _served_bytes(component, model)),
            gpu=gpu,
        ),
        environment={"OMP_NUM_THREADS": str(max(1, math.floor(cpu)))},  # one more would wait for the next period
        replicas=max(1, scaling.min) if scaling else _replicas(component, cluster),
        scaling=_scaling(component, gpu),
        start_timeout_s=max(start_timeout_s(*runtimes), _PATIENCE * load_s),
        request_timeout_s=max(stop_timeout_s(*runtimes) - MARGIN_S, loaded.spec.controller.run_timeout or 1),
        volume=image.volume,
    )


def _router(loaded: "Loaded", image: ClusterImage, tasks: list[str], cluster: Cluster) -> Workload:
    """One router where runs are in a file, which is nobody else's; several where they are in PostgreSQL."""
    controller = loaded.spec.controller
    shared = controller.database.driver == "postgres"
    patience_s = drain_s(loaded)
    told = {SHUTDOWN_TIMEOUT: f"{patience_s:g}"} if patience_s != controller.shutdown_timeout else {}
    replicas = max(_FEWEST_ROUTERS, cluster.replicas or 0) if shared else 1
    return Workload(
        service="router",
        kind="router",
        name=host_name("router"),
        image=image.reference,
        built=image.built,
        architecture=image.architecture,
        port=PORTS["router"],
        share=_ROUTER_SHARE,
        environment={IN_CLUSTER: "1"} | told,
        replicas=replicas,
        scaling=Scaling(replicas, _MORE_ROUTERS * replicas) if shared else None,
        start_timeout_s=start_timeout_s(controller.runtime),
        request_timeout_s=patience_s,
        calls=tuple(tasks),
        reaches=tuple(reached_ports(loaded)),
        claims=() if shared else (Claim("runs", STATE, _RUNS_BYTES),),
    )


def _page(loaded: "Loaded", image: ClusterImage) -> Workload:
    """One: a browser's requests must come to the pod that has its session."""
    runtime = loaded.spec.controller.runtime
    return Workload(
        service="page",
        kind="page",
        name=host_name("page"),
        image=image.reference,
        built=image.built,
        architecture=image.architecture,
        port=PORTS["page"],
        share=_PAGE_SHARE,
        start_timeout_s=start_timeout_s(runtime),
        request_timeout_s=max(stop_timeout_s(runtime) - MARGIN_S, 1),
        calls=(host_name("router"),),
    )


def _replicas(component: ModelComponentSpec, cluster: Cluster) -> int:
    return component.replicas if "replicas" in component.model_fields_set else cluster.replicas or component.replicas


def _locked(component: ModelComponentSpec, lock: Lock | None) -> LockedModel:
    model = lock.models.get(model_name(component.model.name, component.model.revision)) if lock else None
    if model is None or model.weights_bytes is None:
        raise UserError(
            f"{LOCK_FILE} does not say how large the weights of `{component.name}` are",
            hint="`model-compose build` writes it",
            exit_code=ExitCode.FILE,
        )
    return model


def _served_bytes(component: ModelComponentSpec, model: LockedModel) -> int:
    """How large the weights are in memory: as they are stored, or wider where the file wants them so."""
    return max(model.weights_bytes or 0, (model.parameters or 0) * BYTES.get(component.precision, 0))


def _memory_bytes(loaded: "Loaded", component: ModelComponentSpec, weights_bytes: int) -> int:
    """What the file says, else what the weights need. Raises UserError for less than that, but for smaller weights."""
    needed = math.ceil((_WEIGHTS_SHARE * weights_bytes + _BESIDE_WEIGHTS) / _MI) * _MI
    given = component.resources.memory
    if given is None:
        return needed
    if given < needed and component.quantization is None:
        raise UserError(
            f"{_place(loaded, component, 'resources', 'memory')}: {write_memory(given)} are too little for the weights "
            f"of `{component.name}`, which are {math.ceil(weights_bytes / _MI)}Mi",
            hint=f"write `memory: {write_memory(needed)}`, or leave it out",
            exit_code=ExitCode.FILE,
        )
    return given


def _gpu(loaded: "Loaded", component: ModelComponentSpec, limits: Resources, cluster: Cluster) -> Gpu | None:
    if not limits.gpu_count:
        return None
    if cluster.target == "cpu":
        raise UserError(
            f"{_place(loaded, component)}: `{component.name}` needs a GPU, and `--target cpu` is a cluster without any",
            hint="take `--target nvidia`, or `device: cpu` without `gpu`, and build again",
            exit_code=ExitCode.FILE,
        )
    return Gpu(limits.gpu_count, cluster.target, limits.gpu_type, cluster.gpu_label if limits.gpu_type else None)


def _scaling(component: ModelComponentSpec, gpu: Gpu | None) -> Scaling | None:
    """Of what computes on GPUs by its requests: what one pod computes at once, as far as it should be busy."""
    scaling = component.scaling
    if scaling is None or scaling.min == scaling.max:
        return None
    at_once = component.max_concurrent_count or ROWS
    requests = max(1, at_once * scaling.target // 100) if gpu else None
    return Scaling(scaling.min, scaling.max, scaling.target, requests)


def _place(loaded: "Loaded", component: ModelComponentSpec, *key: str) -> str:
    return str(mark_at(loaded.root, ("components", loaded.spec.components.index(component), *key)))


def _variables(loaded: "Loaded", service: str) -> _Variables:
    """Raises UserError (exit 3) for a secret that would be seen in an image."""
    controller = loaded.spec.controller
    component = next((component for component in loaded.spec.models if component.name == service), None)
    values = environment_of(controller.runtime, component.runtime if component else None)
    told = {"router": router_told, "page": page_told}.get(service)
    withheld_values = told(loaded).secrets if told else {}
    secret = frozenset({*withheld_values, *filter(is_secret_name, values)})
    return _Variables({**values, **withheld_values}, secret)


def _secret_keys(service: str, given: Mapping[str, _Variables]) -> dict[str, str]:
    """The key of each secret: its variable, with the service's name where another one has another value under it."""
    own = given[service]
    return {
        name: name
        if all(other.values.get(name, own.values[name]) == own.values[name] for other in given.values())
        else f"{host_name(service)}.{name}"
        for name in sorted(own.secret)
    }


def _told(workload: Workload, given: _Variables, keys: Mapping[str, str]) -> Workload:
    plain = {name: value for name, value in given.values.items() if name not in given.secret}
    return replace(workload, environment={**workload.environment, **plain}, secrets=keys)
