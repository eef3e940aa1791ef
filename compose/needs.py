"""What the models of a file need of this machine, and whether it has that: told before anything is fetched."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from builders.estimate import FRAMEWORK_BYTES, SHARED_BYTES, Facts, Memory, memory_of
from builders.hub_cache import hub_cache
from compose.machine import Machine
from compose.models import Known, source_of
from compose.output import columns
from compose.spec import ActionSpec, ModelComponentSpec
from compose.templates import constant
from infra.errors import ExitCode, UserError
from infra.sizes import size
from services.catalog import TASKS
from services.engine.loading.precision import computing_type

if TYPE_CHECKING:
    from compose.loader import Loaded

_OTHERS: Final = {"router": 60_000_000, "page": 155_000_000}
"""What the other two services hold, measured as the models are."""
_CONTEXT: Final = 4096
"""Tokens, for a model that does not say how many it can attend to."""
_OUTPUT: Final = 1024
"""New tokens of an action that does not say how many."""

Answer = Literal["fits", "short", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class ModelNeed:
    """What one component needs. gpu: the index of the GPU that it runs on, None for the processor.

    disk: bytes that will be written, by folder. memory, dtype: None while the model is unknown, as `problem` says.
    """

    service: str
    model: str
    download_bytes: int | None = None
    disk: Mapping[Path, int] | None = None
    gpu: int | None = None
    dtype: str | None = None
    parameters: int | None = None
    rough: bool = False
    memory: Memory | None = None
    problem: UserError | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a need is met. service: None for all of them at once.

    needs_bytes: with full caches. longest_bytes: for the longest requests. least_bytes: without that nothing works.
    """

    service: str | None
    what: str
    needs_bytes: int
    longest_bytes: int
    least_bytes: int
    available_bytes: int | None
    detail: str = ""

    @property
    def answer(self) -> Answer:
        if self.available_bytes is None:
            return "unknown"
        if self.least_bytes > self.available_bytes:
            return "no"
        return "fits" if min(self.needs_bytes, self.longest_bytes) <= self.available_bytes else "short"

    def __str__(self) -> str:
        needs, longest, least = size(self.needs_bytes), size(self.longest_bytes), size(self.least_bytes)
        if self.available_bytes is None:
            return f"needs {needs}; what is available cannot be told"
        available = size(self.available_bytes)
        if self.answer == "no":
            return f"does not fit: needs {least}, {available} available"
        if self.answer == "short":
            return f"fits while texts are short: needs {least}, with the longest {longest}, {available} available"
        if self.needs_bytes > self.available_bytes:
            return f"fits, but not with all caches full: needs {longest}, with those {needs}, {available} available"
        return f"fits: needs {needs}, {available} available"


@dataclass(frozen=True, slots=True)
class Needs:
    """Everything, model by model in file order, and the verdicts."""

    models: tuple[ModelNeed, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def exit_code(self) -> ExitCode:
        """OK unless something surely does not fit or could not be found out."""
        problems = [need.problem.exit_code for need in self.models if need.problem]
        if any(verdict.answer == "no" for verdict in self.verdicts):
            problems.append(ExitCode.ENVIRONMENT)
        return problems[0] if problems else ExitCode.OK

    def __str__(self) -> str:
        return columns([*self._rows()])

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for need in self.models:
            if need.download_bytes is not None:
                download = size(need.download_bytes) if need.download_bytes else "nothing, it is on this machine"
                yield need.service, "download", download
            if need.problem is not None:
                yield need.service, "memory" if need.disk is not None else "model", f"unknown: {need.problem.message}"
            yield from self._verdict_rows(need.service, need.service)
        yield from self._verdict_rows(None, "in all")

    def _verdict_rows(self, service: str | None, name: str) -> Iterator[tuple[str, str, str]]:
        for verdict in self.verdicts:
            if verdict.service == service:
                yield name, verdict.what, str(verdict)
                yield "", "", verdict.detail

    def to_json(self) -> dict[str, Any]:
        return {"models": [*map(_model_json, self.models)], "verdicts": [*map(_verdict_json, self.verdicts)]}


def needs_of(loaded: "Loaded", known: Mapping[str, Known | UserError], machine: Machine) -> Needs:
    """What the models need, by what is known of each component's; a model with a problem keeps it."""
    before = [_need(loaded, component, known[component.name], machine) for component in loaded.spec.models]
    others = ["router", *(["page"] if loaded.spec.controller.webui else [])]
    needs = tuple(
        need if need.memory is None else replace(need, memory=need.memory.with_cache(left))
        for need in before
        for left in [_left(need.gpu, before, others, machine)]
    )
    return Needs(needs, tuple(_verdicts(needs, others, machine)))


def _left(gpu: int | None, needs: Sequence[ModelNeed], others: Sequence[str], machine: Machine) -> int | None:
    """Bytes that are free on a device once everything is loaded, which the caches may share; None when unknown."""
    available = _available(gpu, machine)
    loaded = sum(need.memory.loaded for need in needs if need.memory is not None and need.gpu == gpu)
    return None if available is None else max(0, available - loaded - (_base(needs, others) if gpu is None else 0))


def _base(needs: Sequence[ModelNeed], others: Sequence[str]) -> int:
    """Bytes of the processor's memory that are taken beside its own models; those on GPUs have a process here, too."""
    elsewhere = sum(need.memory is not None and need.gpu is not None for need in needs)
    return SHARED_BYTES + sum(_OTHERS[name] for name in others) + elsewhere * FRAMEWORK_BYTES


def _need(loaded: "Loaded", component: ModelComponentSpec, known: Known | UserError, machine: Machine) -> ModelNeed:
    service, model = component.name, component.model.name
    if isinstance(known, UserError):
        return ModelNeed(service, model, problem=known)
    found, facts = known.found, known.facts
    cache = hub_cache(loaded.env, source_of(loaded, component).cache_dir).root
    disk = {cache: found.bytes_to_fetch} if found.bytes_to_fetch else {}
    if found.converts:
        disk[found.path] = sum(found.weights.values())
    if isinstance(facts, UserError):
        return ModelNeed(service, model, found.bytes_to_fetch, disk, problem=facts)
    gpu = _gpu(component.device, machine)
    processor = machine.processor if gpu is None else None
    dtype = computing_type(
        component.precision,
        component.quantization,
        stored=facts.stored,
        parameters=facts.parameters,
        processor=processor,
    )
    memory = memory_of(
        facts,
        dtype=dtype,
        quantization=component.quantization,
        longest=longest(component.actions, facts),
        processor=processor,
        rows=component.max_concurrent_count,
        network=TASKS[component.task].network,
    )
    return ModelNeed(
        service, model, found.bytes_to_fetch, disk, gpu, dtype, facts.parameters, rough=facts.rough, memory=memory
    )


def _gpu(device: str, machine: Machine) -> int | None:
    if device == "auto":
        return 0 if machine.gpus else None
    kind, _, index = device.partition(":")
    return int(index or 0) if kind == "cuda" else None


def longest(actions: Sequence[ActionSpec], facts: Facts) -> int:
    """Tokens that must fit at once: of one sequence, or of all beams of a search. Other sequences wait for room."""
    return max((_action_tokens(action, facts.context or _CONTEXT) for action in actions), default=_CONTEXT)


def _action_tokens(action: ActionSpec, context: int) -> int:
    most = _number(action, "max_length")
    prompt = _number(action, "max_input_length")
    if prompt is not None:
        room = prompt + (_number(action, "max_output_length") or _OUTPUT)
        most = min(most or room, room)
    return min(most or context, context) * (_number(action, "num_beams") or 1)


def _number(action: ActionSpec, name: str) -> int | None:
    """A parameter's value where it is known before a run."""
    try:
        value = constant(action.fields.get(name))
        return int(value) if value is not None else None
    except (LookupError, TypeError, ValueError):
        return None


def _verdicts(needs: Sequence[ModelNeed], others: Sequence[str], machine: Machine) -> Iterator[Verdict]:
    for need in needs:
        if need.memory is not None:
            yield _memory_verdict(need, need.memory, machine)
    yield from _disk_verdicts(needs, machine)
    loaded = [(need, need.memory) for need in needs if need.memory is not None]
    if not loaded:
        return
    for index in sorted({need.gpu for need, _ in loaded if need.gpu is not None}):
        there = [memory for need, memory in loaded if need.gpu == index]
        yield _verdict_on(None, f"memory of GPU {index}", there, 0, _free(index, machine))
    on_processor = [memory for need, memory in loaded if need.gpu is None]
    detail = f"with {' and '.join(others)}"
    yield _verdict_on(None, "memory", on_processor, _base(needs, others), machine.processor.available_bytes, detail)


def _memory_verdict(need: ModelNeed, memory: Memory, machine: Machine) -> Verdict:
    shared = SHARED_BYTES if need.gpu is None else 0
    parts = [
        f"weights {size(memory.weights)} in {need.dtype}",
        f"up to {size(memory.cache + memory.working)} for {memory.tokens or memory.longest} tokens",
        f"framework {size(memory.framework + shared)}",
    ]
    detail = ("roughly: " if need.rough else "") + ", ".join(parts)
    what = "memory" if need.gpu is None else f"memory of GPU {need.gpu}"
    available = _available(need.gpu, machine)
    return _verdict_on(need.service, what, [memory], shared, available, detail)


def _verdict_on(
    service: str | None, what: str, memories: Sequence[Memory], base: int, available: int | None, detail: str = ""
) -> Verdict:
    """On models that share a device. base: bytes that are taken beside them."""
    return Verdict(
        service,
        what,
        needs_bytes=base + sum(memory.total for memory in memories),
        longest_bytes=base + sum(memory.lengthy for memory in memories),
        least_bytes=base + sum(memory.least for memory in memories),
        available_bytes=available,
        detail=detail,
    )


def _available(gpu: int | None, machine: Machine) -> int | None:
    """Memory of the processor or of a GPU that can be had now."""
    return machine.processor.available_bytes if gpu is None else _free(gpu, machine)


def _free(gpu: int, machine: Machine) -> int:
    return machine.gpus[gpu].free_bytes if gpu < len(machine.gpus) else 0


def _disk_verdicts(needs: Sequence[ModelNeed], machine: Machine) -> Iterator[Verdict]:
    """One verdict a disk, whose folders share what is free."""
    wanted: dict[int, tuple[int, int, Path]] = {}
    for need in needs:
        for folder, count in (need.disk or {}).items():
            disk = machine.disk(folder)
            so_far, _, first = wanted.get(disk.device, (0, 0, folder))
            wanted[disk.device] = (so_far + count, disk.free_bytes, first)
    for count, free_bytes, folder in wanted.values():
        yield Verdict(None, "disk", count, count, count, free_bytes, f"of {folder}")


def _model_json(need: ModelNeed) -> dict[str, Any]:
    return {
        "service": need.service,
        "model": need.model,
        "download_bytes": need.download_bytes,
        "disk_bytes": sum(need.disk.values()) if need.disk is not None else None,
        "device": "cpu" if need.gpu is None else f"cuda:{need.gpu}",
        "dtype": need.dtype,
        "parameters": need.parameters,
        "rough": need.rough,
        "longest_tokens": need.memory.longest if need.memory else None,
        "cache_tokens": need.memory.tokens if need.memory else None,
        "memory": _memory_json(need.memory) if need.memory else None,
        "problem": need.problem.message if need.problem else None,
    }


def _memory_json(memory: Memory) -> dict[str, int]:
    names = ("weights", "cache", "working", "framework", "least", "total")
    return {f"{name}_bytes": getattr(memory, name) for name in names}


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(verdict).items() if name != "detail"}
    return {**shown, "answer": verdict.answer}
