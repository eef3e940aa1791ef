"""What files of the field may say and this project does not serve yet: refused by name, never as a typo."""

from collections.abc import Collection
from typing import Any, Final, get_args

from compose.blocks import rewrite
from compose.checks.shape import MODELS
from compose.reading.nodes import Entry, Mapping, Scalar, Sequence
from compose.reading.problems import Mark, Problem
from services.catalog import PLANNED_TASKS, TASKS


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KEYS: Final[dict[str, frozenset[str]]] = {
    "file": _names("channel channels gateway gateways listener listeners logger loggers system systems tracer tracers"),
    "controller": _names("database queue threads"),
    "adapter": _names("queue_size tls"),
    "webui": _names("command static_dir"),
    "component": _names("cache_dir labels on_demand peft_adapters replicas resources scaling version volumes"),
    "action": _names("hook tools"),
    "runtime": _names(
        "build command cpus dockerfile env_file gpus image labels memory networks ports shm_size user volumes"
    ),
    "model": _names("filename format"),
    "workflow": _names("on_error timeout"),
    "job": _names("hook interrupt max_run_count on_error retry timeout"),
}
"""Keys by the kind of block they stand in."""

VALUES: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("component", "type"): _names(
        """
        agent audio-clipper audio-converter audio-extractor audio-processor data-queue datasets file-store graph-store
        html-frame-renderer http-client http-server image-processor key-value-store mcp-client mcp-server
        media-inspector model-memory model-tokenizer model-trainer search-engine sentence-splitter shell text-splitter
        vector-processor vector-store video-clipper video-converter video-encoder video-frame-extractor
        video-scene-detector web-browser web-scraper websocket-client websocket-server workflow
        """
    ),
    ("component", "task"): _names(
        """
        face-embedding image-embedding image-generation image-segmentation image-text-to-text image-to-text
        image-upscale object-detection speech-to-text text-to-image text-to-speech
        """
    )
    | frozenset(PLANNED_TASKS),
    ("component", "driver"): _names("custom llamacpp sglang tensorrt unsloth vllm"),
    ("component", "quantization"): _names("awq fp8 gptq int4 nf4"),
    ("component", "preload"): _names("false False FALSE"),
    ("adapter", "type"): _names("mcp-server queue-subscriber"),
    ("webui", "driver"): _names("dynamic static"),
    ("runtime", "type"): _names("docker embedded native virtualenv"),
    ("job", "type"): _names(
        "accumulate delay fan-out filter for-each hook if interrupt loop pipeline random-router switch"
    ),
}
"""Values of one key, by the kind of block and the key."""

_DECISIVE: Final = {
    ("adapter", "type"),
    ("component", "task"),
    ("component", "type"),
    ("job", "type"),
    ("webui", "driver"),
}
"""Values without which nothing else in the block can be judged."""


def refuse(root: Mapping) -> tuple[Mapping, tuple[Problem, ...]]:
    """The file, in today's dialect, without what is not supported yet, and a problem for each such thing."""
    problems: list[Problem] = []

    def judge(block: Mapping, kind: str) -> Mapping | None:
        refused = {key: problem for key, entry in block.entries.items() if (problem := _judge(kind, key, entry))}
        decisive = next((problem for key, problem in refused.items() if (kind, key) in _DECISIVE), None)
        if decisive:
            problems.append(decisive)
            return None
        problems.extend(refused.values())
        return Mapping({key: entry for key, entry in block.entries.items() if key not in refused}, block.mark)

    pruned = rewrite(root, "file", judge)
    assert isinstance(pruned, Mapping), "a file's own keys choose nothing"
    return pruned, tuple(problems)


def _judge(kind: str, key: str, entry: Entry) -> Problem | None:
    if key in KEYS.get(kind, ()):
        return _not_yet(entry.key_mark, f"`{key}`")
    value = entry.value
    if (kind, key) == ("job", "depends_on") and isinstance(value, Sequence):
        either = next((item for item in value.items if isinstance(item, Sequence)), None)
        return _not_yet(either.mark, "waiting for either of several jobs") if either else None
    if isinstance(value, Scalar) and value.raw in VALUES.get((kind, key), ()):
        return _not_yet(value.mark, f"{_named(kind, key)} `{value.raw}`", supported_values(kind, key))
    return None


def _named(kind: str, key: str) -> str:
    """What a value is called in a sentence: `component type`, `task`, `webui driver`."""
    return f"{kind} {key}" if key in ("type", "driver") else key


def supported_values(kind: str, key: str) -> list[str]:
    """What may stand there today; empty where that is no list of words."""
    if (kind, key) == ("component", "task"):
        return list(TASKS)
    values: tuple[Any, ...] = get_args(MODELS[kind].model_fields[key].annotation)
    return [value for value in values if isinstance(value, str)]


def _not_yet(mark: Mark, what: str, supported: Collection[str] = ()) -> Problem:
    hint = f"supported: {', '.join(supported)}" if supported else None
    return Problem(mark, f"{what} is not supported yet", hint, "wrong meaning")
