"""What a file asks of a cluster, read from the file and its lock alone: no code that exports has a say in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from builders.lock import model_name
from compose.image_settings import host_name
from compose.spec import ControllerSpec, ModelComponentSpec
from compose.workloads import ClusterImage
from tests.infra.kubernetes.examples import images, loaded, lock

_BYTES: Final = {"float32": 4, "float16": 2, "bfloat16": 2}
_SLOW_DISK: Final = 50_000_000
"""Bytes of weights in a second."""


@dataclass(frozen=True)
class Asked:
    """One service. name: of its Deployment.

    gpus: of `gpu_type`, or of any type. memory: bytes that it has at least; exactly where the file says so. cpu: where
    the file says so. start_s, grace_s: at least. bounds: between how many pods the cluster chooses. alone: whether a
    second pod must wait until the first one has gone.
    """

    name: str
    image: ClusterImage
    start_s: float
    grace_s: float
    memory: float = 0
    is_exact: bool = False
    cpu: float | None = None
    gpus: int = 0
    gpu_type: str | None = None
    bounds: tuple[int, int] | None = None
    alone: bool = False


@cache
def asked(example: str) -> tuple[Asked, ...]:
    """Of each service of an example: its tasks, the router, and the page where there is one."""
    return tuple(_asked(example))


def _asked(example: str) -> Iterator[Asked]:
    file = loaded(example)
    controller, models, found = file.spec.controller, lock(file).models, images(example)
    for each in file.spec.models:
        model = models[model_name(each.model.name, each.model.revision)]
        served = max(model.weights_bytes or 0, (model.parameters or 0) * _BYTES.get(each.precision, 0))
        gpus, gpu_type = _gpus(each)
        runtimes = (each.runtime, controller.runtime)
        starts = [runtime.start_timeout for runtime in runtimes if runtime and runtime.start_timeout]
        stops = [runtime.stop_timeout for runtime in runtimes if runtime and runtime.stop_timeout]
        yield Asked(
            name=host_name(each.name),
            image=found[each.name],
            start_s=max(300, 3 * (model.weights_bytes or 0) / _SLOW_DISK, *starts[:1]),
            grace_s=10 + max((controller.run_timeout or 0) + 5, (stops or [30])[0]),
            memory=each.resources.memory or 1.3 * served + 2**30,
            is_exact=each.resources.memory is not None,
            cpu=each.resources.cpu,
            gpus=gpus,
            gpu_type=gpu_type,
            bounds=(each.scaling.min, each.scaling.max) if each.scaling else None,
            alone=gpus > 0,
        )
    in_file = controller.database.driver == "sqlite"
    yield Asked("router", found["router"], start_s=300, grace_s=10 + _patience_s(controller) + 5, alone=in_file)
    if controller.webui:
        yield Asked("page", found["page"], start_s=300, grace_s=40)


def _gpus(component: ModelComponentSpec) -> tuple[int, str | None]:
    """How many, and of which type: `L4:2`, `2` or nothing, where a device such as `cuda:1` is the second of two."""
    if component.resources.gpu is not None:
        gpu_type, _, count = str(component.resources.gpu).rpartition(":")
        return int(count), gpu_type or component.resources.gpu_type
    kind, _, index = component.device.partition(":")
    return int(index or 0) + 1 if kind == "cuda" else 0, component.resources.gpu_type


def _patience_s(controller: ControllerSpec) -> float:
    """What the file says, else a run's time."""
    is_said = "shutdown_timeout" in controller.model_fields_set
    return controller.shutdown_timeout if is_said else max(controller.shutdown_timeout, controller.run_timeout or 0)
