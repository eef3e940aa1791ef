"""Whether what a component may use fits the device it runs on, and itself."""

from typing import Final

from compose.blocks import Location
from compose.checks.findings import Findings
from compose.spec import ModelComponentSpec
from infra.resources import read_gpu

ONCE_EACH: Final = "is for Kubernetes: processes and containers are started once each"


def check_resources(component: ModelComponentSpec, here: Location, findings: Findings) -> None:
    """Write down what contradicts itself in `resources`, `replicas` and `scaling`."""
    _check_gpu(component, (*here, "resources"), findings)
    scaling = component.scaling
    if scaling and scaling.max < scaling.min:
        findings.error((*here, "scaling", "max"), f"`max` must be at least `min`, which is {scaling.min}")
    if scaling and "replicas" in component.model_fields_set:
        message = "`replicas` cannot stand beside `scaling`, which decides how many there are"
        findings.error((*here, "replicas"), message, "keep one of them", key=True)
        return
    for key in sorted({"replicas", "scaling"} & component.model_fields_set):
        findings.warn((*here, key), f"`{key}` {ONCE_EACH}", key=True)


def _check_gpu(component: ModelComponentSpec, here: Location, findings: Findings) -> None:
    resources, device = component.resources, component.device
    count, type_ = read_gpu(resources.gpu or 0)
    if type_ and resources.gpu_type not in (None, type_):
        message = f"`gpu_type` is `{resources.gpu_type}`, and `gpu` says `{type_}`"
        findings.error((*here, "gpu_type"), message, "keep one of them")
    if resources.gpu_type and not count:
        findings.error((*here, "gpu_type"), "`gpu_type` means nothing without a GPU", "write `gpu: 1`")
    if resources.gpu is None:
        return
    kind, _, index = device.partition(":")
    if count and kind in ("cpu", "mps"):
        message = f"`device: {device}` uses no GPU of this kind"
        findings.error((*here, "gpu"), message, "leave `gpu` out, or take `device: cuda`")
    elif kind == "cuda" and int(index or 0) >= count:
        message = f"`device: {device}` needs {int(index or 0) + 1} or more, not {count}"
        findings.error((*here, "gpu"), message, "leave `gpu` out, and it gets what its device needs")
