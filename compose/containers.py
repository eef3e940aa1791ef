"""What the services of a file are as containers: their networks, limits, variables and published addresses."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from builders.container import PORTS, STATE
from compose.image_settings import host_name, page_told, router_told
from compose.plan import drain_timeout_s, environment_of, start_timeout_s, stop_timeout_s
from compose.spec import ModelComponentSpec
from infra.docker.container import Container
from infra.resources import Resources
from infra.unit import TcpAddress
from services.wire import LIVE_PATH, READY_PATH

if TYPE_CHECKING:
    from compose.loader import Loaded

RUNS_VOLUME: Final = "runs"


def containers_of(loaded: "Loaded", images: Mapping[str, str]) -> tuple[Container, ...]:
    """The containers in the order in which they depend on each other: tasks, router, page.

    images: a reference or an id by service. Secrets stand in `environment`, and nowhere else. Published addresses are
    as in the file, perhaps with a host's name. Raises UserError for a secret that would be seen in an image.
    """
    tasks = [_task(loaded, component, images[component.name]) for component in loaded.spec.models]
    page = [_page(loaded, images["page"])] if loaded.spec.controller.webui else []
    return (*tasks, _router(loaded, images["router"]), *page)


def _task(loaded: "Loaded", component: ModelComponentSpec, image: str) -> Container:
    runtimes = (loaded.spec.controller.runtime, component.runtime)
    return Container(
        service=component.name,
        kind="task",
        image=image,
        host_name=host_name(component.name),
        port=PORTS["task"],
        health_path=READY_PATH,
        networks=("tasks",),
        environment=environment_of(*runtimes),
        resources=limits_of(component),
        start_timeout_s=start_timeout_s(*runtimes),
        stop_timeout_s=stop_timeout_s(*runtimes),
    )


def _router(loaded: "Loaded", image: str) -> Container:
    controller = loaded.spec.controller
    adapter = controller.adapter
    return Container(
        service="router",
        kind="router",
        image=image,
        host_name=host_name("router"),
        port=PORTS["router"],
        health_path=LIVE_PATH,
        networks=("front", "tasks"),
        environment={**environment_of(controller.runtime), **router_told(loaded).secrets},
        published=TcpAddress(adapter.host, adapter.port),
        volumes={STATE: RUNS_VOLUME} if controller.database.driver == "sqlite" else {},
        start_timeout_s=start_timeout_s(controller.runtime),
        stop_timeout_s=drain_timeout_s(controller),
    )


def _page(loaded: "Loaded", image: str) -> Container:
    controller = loaded.spec.controller
    assert controller.webui is not None
    return Container(
        service="page",
        kind="page",
        image=image,
        host_name=host_name("page"),
        port=PORTS["page"],
        health_path=LIVE_PATH,
        networks=("front",),
        environment={**environment_of(controller.runtime), **page_told(loaded).secrets},
        published=TcpAddress(controller.webui.host, controller.webui.port),
        start_timeout_s=start_timeout_s(controller.runtime),
        stop_timeout_s=stop_timeout_s(controller.runtime),
    )


def limits_of(component: ModelComponentSpec) -> Resources:
    """What the file gives the component, and as many GPUs as its device needs where the file does not say."""
    limits = component.resources.limits
    kind, _, index = component.device.partition(":")
    if kind != "cuda" or component.resources.gpu is not None:
        return limits
    return replace(limits, gpu_count=int(index or 0) + 1)
