"""Which images a file is made into: a name, settings and a model for each."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from builders.baking import MODELS
from builders.bento import settings_text
from builders.container import own_labels
from builders.images.layout import Image, digest_of
from builders.spec import BuildSpec
from builders.weights import Resolved
from compose.image_settings import host_name, page_told, router_told, task_told
from compose.reading.nodes import mark_at
from compose.spec import ModelComponentSpec
from infra.docker.container import project_name
from infra.errors import ExitCode, UserError

if TYPE_CHECKING:
    from compose.loader import Loaded

_COMMIT: Final = re.compile("[0-9a-f]{40}")


def services_of(loaded: "Loaded") -> list[str]:
    """The services that become images, by the names that users know: tasks, router, page."""
    page = ["page"] if loaded.spec.controller.webui else []
    return [*(component.name for component in loaded.spec.models), "router", *page]


def repository(loaded: "Loaded", service: str) -> str:
    """The name of a service's image, without its tag."""
    return f"{project_name(loaded.directory)}/{host_name(service)}"


def image_name(loaded: "Loaded", service: str, tag: str = "latest") -> str:
    """The same with a tag, which `up` leaves at its default."""
    return f"{repository(loaded, service)}:{tag}"


def build_specs(
    loaded: "Loaded", models: Mapping[str, Resolved], services: Collection[str] = ()
) -> tuple[BuildSpec, ...]:
    """The images of `services`, or all of them, in the order in which they depend on each other.

    models: of each task among them, by the component's name. Raises UserError for what no image can hold.
    """
    wanted = services or services_of(loaded)
    specs = [_task(loaded, component, models) for component in loaded.spec.models if component.name in wanted]
    if "router" in wanted:
        name = repository(loaded, "router")
        specs.append(BuildSpec(name="router", repository=name, kind="router", settings=router_told(loaded).settings))
    if "page" in wanted:
        name = repository(loaded, "page")
        specs.append(BuildSpec(name="page", repository=name, kind="page", settings=page_told(loaded).settings))
    return tuple(specs)


def _task(loaded: "Loaded", component: ModelComponentSpec, models: Mapping[str, Resolved]) -> BuildSpec:
    if component.device == "mps":
        place = mark_at(loaded.root, ("components", loaded.spec.components.index(component), "device"))
        raise UserError(
            f"{place}: a container has no `mps`, which is a Mac's own",
            hint="write `device: auto`: it takes the processor there, and a Mac's GPU where it runs as a process",
            exit_code=ExitCode.FILE,
        )
    model = models[component.name]
    return BuildSpec(
        name=host_name(component.name),
        repository=repository(loaded, component.name),
        kind="task",
        settings=task_told(loaded, component, model.path).model_dump_json(),
        model=model,
        revision=component.model.revision,
        gpu=uses_gpu(component),
    )


def is_current(loaded: "Loaded", service: str, image: Image) -> bool:
    """Whether an image of this service is what the file makes of it now, as far as its labels tell."""
    labels = own_labels(image)
    component = next((component for component in loaded.spec.models if component.name == service), None)
    if component is None:
        text = (router_told if service == "router" else page_told)(loaded).settings
        return labels.get("settings") == digest_of(text.encode())
    folder = Path(MODELS, labels.get("weights", ""))
    text = settings_text(task_told(loaded, component, folder))
    wanted = {"settings": digest_of(text.encode()), "device": "cuda" if uses_gpu(component) else "cpu"}
    if _COMMIT.fullmatch(component.model.revision or ""):
        wanted["revision"] = component.model.revision or ""
    return wanted.items() <= labels.items()


def uses_gpu(component: ModelComponentSpec) -> bool:
    """Whether the component's image takes CUDA's build of torch: its resources or its device say so."""
    return component.resources.limits.gpu_count > 0 or component.device.startswith("cuda")
