"""What will happen: the units that a file asks for, and why each step is taken. Pure; prints itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from builders.container import VARIABLES
from compose.checks.hosts import url
from compose.output import columns, count
from compose.routing import router_settings
from compose.spec import ComposeSpec, ControllerSpec, ModelComponentSpec, RuntimeSpec
from compose.usage import used_by
from infra.resources import Resources, write_cpu, write_memory
from infra.sizes import size
from infra.unit import Address, TcpAddress, Unit, UnixAddress
from services.router.settings import RouterSettings
from services.settings import TaskResources, TaskSettings
from services.wire import LIVE_PATH, READY_PATH
from ui.settings import PageSettings

if TYPE_CHECKING:
    from compose.loader import Loaded

RUNS_FILE: Final = ".model-compose/runs.db"
STAGES_FILE: Final = ".model-compose/stages.json"
STARTS_FOLDER: Final = ".model-compose/starts"

_QUIET: Final = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_TOKEN": "",
    "HUGGING_FACE_HUB_TOKEN": "",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
}
"""A task reads a local folder: it needs no network and is given no token."""
_FIXED: Final = VARIABLES | _QUIET.keys() | _OFFLINE.keys()
"""Variables that no file can change."""

_START_TIMEOUT_S: Final = 600.0
_STOP_TIMEOUT_S: Final = 30.0
_DRAIN_MARGIN_S: Final = 5.0
"""What a router gets beside its own draining time before it is killed."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """Where a component's model is, or will be once `prepare` has run; `bytes_to_fetch` is None when unknown."""

    path: Path
    prepare: tuple[str, ...] | None = None
    prepare_environment: Mapping[str, str] = field(default_factory=dict)
    bytes_to_fetch: int | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedState:
    """What the machine looks like. `models` is keyed by component name (`ModelComponentSpec.name`).

    tracing: the variables that say where the router sends traces.
    """

    directory: Path
    socket_directory: Path
    models: Mapping[str, ModelState]
    tracing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that will be done, and its cause."""

    verb: Literal["fetch", "convert", "build", "start", "keep", "replace", "remove"]
    service: str
    what: str
    cause: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Units in the order in which they depend on each other: tasks, router, page.

    elsewhere: whether the addresses are those of another machine.
    """

    units: tuple[Unit, ...]
    steps: tuple[Step, ...]
    api_url: str
    page_url: str | None
    spec_digest: str
    elsewhere: bool = False

    def __str__(self) -> str:
        return in_lines(self.steps)


def in_lines(steps: Sequence[Step]) -> str:
    """A line a step: what is done to which service, and why."""
    return columns([(step.verb, step.service, step.what, f"({step.cause})") for step in steps])


def make_plan(loaded: "Loaded", observed: ObservedState) -> Plan:
    """What `up` will do. The file has passed every check, and `observed` knows each component's model."""
    spec = loaded.spec
    controller = spec.controller
    api_url = url(controller.adapter.host, controller.adapter.port) + controller.adapter.base_path
    page_url = url(controller.webui.host, controller.webui.port) if controller.webui else None

    units = [_task_unit(component, controller, observed) for component in spec.models]
    steps = [step for component in spec.models for step in _task_steps(component, spec, observed)]

    endpoints = {component.name: f"unix:{_socket(component, observed)}" for component in spec.models}
    runs_path = (
        loaded.directory / controller.database.path if controller.database.path else observed.directory / RUNS_FILE
    )
    settings = router_settings(loaded, endpoints, runs_path, observed.directory / STAGES_FILE)
    units.append(_router_unit(settings, controller, observed.tracing))
    steps.append(Step("start", "router", api_url, f"runs {count(len(spec.workflows), 'workflow')}"))

    if controller.webui is not None and page_url is not None:
        units.append(_page_unit(spec, api_url))
        asked = "controller.webui" if _has_controller(spec) else "the file has no controller"
        steps.append(Step("start", "page", page_url, asked))
    return Plan(tuple(units), tuple(steps), api_url, page_url, loaded.digest)


def _task_unit(component: ModelComponentSpec, controller: ControllerSpec, observed: ObservedState) -> Unit:
    state = observed.models[component.name]
    record = observed.directory / STARTS_FOLDER / f"{component.name}.json"
    settings = task_settings(component, state.path).model_copy(update={"start_record": record})
    runtimes = (controller.runtime, component.runtime)
    return Unit(
        name=component.name,
        kind="task",
        module="services.entry",
        settings=settings.model_dump_json(),
        address=UnixAddress(_socket(component, observed)),
        ready_path=READY_PATH,
        prepare=state.prepare,
        environment={**environment_of(*runtimes), **_QUIET, **_OFFLINE},
        prepare_environment={**_QUIET, **state.prepare_environment} if state.prepare else {},
        start_timeout_s=start_timeout_s(*runtimes),
        stop_timeout_s=stop_timeout_s(*runtimes),
    )


def task_settings(component: ModelComponentSpec, model_path: Path) -> TaskSettings:
    """What a component's service reads at start, on any machine that has the model at `model_path`."""
    limits = component.resources.limits
    return TaskSettings(
        id=component.name,
        task=component.task,
        model=component.model.name,
        model_path=model_path,
        device=component.device,
        precision=component.precision,
        quantization=component.quantization,
        chat_template=component.chat_template,
        fast_tokenizer=component.fast_tokenizer,
        labels=component.labels,
        max_concurrent_count=component.max_concurrent_count,
        max_queue_length=component.max_queue_length,
        threads=limits.threads,
        resources=_told(limits),
    )


def _told(limits: Resources) -> TaskResources:
    """Without the GPUs' type, which BentoML takes for the name of a machine to rent."""
    return TaskResources(
        cpu=None if limits.cpu is None else write_cpu(limits.cpu),
        memory=None if limits.memory_bytes is None else write_memory(limits.memory_bytes),
        gpu=limits.gpu_count,
    )


def _task_steps(component: ModelComponentSpec, spec: ComposeSpec, observed: ObservedState) -> list[Step]:
    state = observed.models[component.name]
    model = component.model.name + (f" at {state.revision[:12]}" if state.revision else "")
    steps = []
    if state.prepare and state.bytes_to_fetch == 0:
        steps.append(Step("convert", component.name, f"{model} to safetensors", "its weights are pickled"))
    elif state.prepare:
        amount = f", {size(state.bytes_to_fetch)}" if state.bytes_to_fetch is not None else ""
        steps.append(Step("fetch", component.name, model + amount, "not whole on this machine"))
    task = f", {component.task}" if component.id else ""
    return [*steps, Step("start", component.name, model + task, _users(component, spec))]


def _users(component: ModelComponentSpec, spec: ComposeSpec) -> str:
    """The workflows that a component is started for."""
    users = [workflow for workflow in spec.workflows if component in used_by(workflow, spec).components]
    if not users:
        return "no workflow uses it"
    if len(spec.workflows) == 1:
        return "for the workflow" + (f" {users[0].title!r}" if users[0].title else "")
    return f"for workflow{'s' if len(users) > 1 else ''} {', '.join(workflow.id for workflow in users)}"


def _router_unit(settings: RouterSettings, controller: ControllerSpec, tracing: Mapping[str, str]) -> Unit:
    return Unit(
        name="router",
        kind="router",
        module="services.router.app",
        settings=settings.model_dump_json(),
        address=TcpAddress(settings.host, settings.port),
        ready_path=LIVE_PATH,
        environment={**tracing, **environment_of(controller.runtime), **_QUIET},
        start_timeout_s=start_timeout_s(controller.runtime),
        stop_timeout_s=drain_timeout_s(controller),
    )


def _page_unit(spec: ComposeSpec, api_url: str) -> Unit:
    controller = spec.controller
    settings = page_settings(spec, api_url)
    address: Address = TcpAddress(settings.host, settings.port)
    return Unit(
        name="page",
        kind="page",
        module="ui.app",
        settings=settings.model_dump_json(),
        address=address,
        ready_path=LIVE_PATH,
        environment={**environment_of(controller.runtime), **_QUIET},
        start_timeout_s=start_timeout_s(controller.runtime),
        stop_timeout_s=stop_timeout_s(controller.runtime),
    )


def page_settings(spec: ComposeSpec, api_url: str) -> PageSettings:
    """What the page reads at start; the file asks for one."""
    controller = spec.controller
    assert controller.webui is not None
    titles = [workflow.title for workflow in spec.workflows if workflow.title and not workflow.private]
    named = "name" in controller.model_fields_set or len(titles) != 1
    return PageSettings(
        host=controller.webui.host,
        port=controller.webui.port,
        title=controller.name if named else titles[0],
        api_url=api_url,
        auth_token=controller.auth.token or None,
        allowed_hosts=controller.allowed_hosts,
    )


def _has_controller(spec: ComposeSpec) -> bool:
    return "controller" in spec.model_fields_set


def environment_of(*runtimes: RuntimeSpec | None) -> dict[str, str]:
    """What the file gives, the component's own over the controller's.

    It changes nothing that a process and a container must have: no telemetry, no network, and where things lie.
    """
    given: dict[str, str] = {}
    for runtime in runtimes:
        given |= runtime.environment if runtime else {}
    return {name: value for name, value in given.items() if name not in _FIXED}


def start_timeout_s(*runtimes: RuntimeSpec | None) -> float:
    """How long a service may take to become ready; the last runtime that says so decides."""
    return _last([runtime.start_timeout for runtime in runtimes if runtime], _START_TIMEOUT_S)


def stop_timeout_s(*runtimes: RuntimeSpec | None) -> float:
    """How long a service may take to end before it is killed."""
    return _last([runtime.stop_timeout for runtime in runtimes if runtime], _STOP_TIMEOUT_S)


def drain_timeout_s(controller: ControllerSpec) -> float:
    """The same for the router, which finishes what it has accepted."""
    return controller.shutdown_timeout + _DRAIN_MARGIN_S


def _last(values: Sequence[float | None], default: float) -> float:
    return next((value for value in reversed(values) if value is not None), default)


def _socket(component: ModelComponentSpec, observed: ObservedState) -> str:
    return str(observed.socket_directory / f"{component.name}.sock")
