"""What files of the field may say and this project does not serve yet: refused by name, never as a typo."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, get_args

from compose.blocks import VARIANTS, rewrite
from compose.kinds import MODELS
from compose.reading.nodes import Entry, Mapping, Scalar
from compose.reading.problems import Mark, Problem
from services.catalog import TASKS


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KEYS: Final[dict[str, frozenset[str]]] = {
    "file": _names("channel channels gateway gateways listener listeners logger loggers system systems tracer tracers"),
    "controller": _names("queue threads"),
    "adapter": _names("queue_size tls"),
    "webui": _names("command static_dir"),
    "component": _names("cache_dir on_demand peft_adapters version volumes"),
    "workflow component": _names("max_concurrent_count max_queue_length runtime hook"),
    "action": _names("hook tools"),
    "workflow action": _names("hook"),
    "runtime": _names(
        "build command cpus dockerfile env_file gpus image labels memory networks ports shm_size user volumes"
    ),
    "model": _names("filename format"),
    "workflow": _names("on_error timeout"),
    "job": _names("hook interrupt"),
    "random-router job": _names("salt"),
    "filter job": _names("streaming"),
    "for-each job": _names("streaming"),
    "do": _names("hook interrupt max_run_count on_error repeat_count retry timeout"),
}
"""Keys by the kind of block they stand in; those of a `job` hold for every kind of job."""

VALUES: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("component", "type"): _names(
        """
        agent audio-analyzer audio-capture audio-clipper audio-converter audio-extractor audio-feature-extractor
        audio-mixer audio-playback audio-processor audio-silence-detector audio-synchronizer
        camera-pose-estimator data-queue datasets document-loader file-store graph-store html-frame-renderer
        http-client http-server image-analyzer image-compressor image-drawing image-processor key-value-store
        mcp-client mcp-server media-downloader media-inspector model-3d-converter model-3d-renderer model-memory
        model-tokenizer model-trainer morpheme-analyzer music-analyzer music-pitch-corrector music-score-loader
        music-score-renderer music-segment-detector music-synthesizer rtmp-publisher screen-capture
        search-engine sentence-splitter shell subtitle-loader text-parser text-splitter transcript-corrector
        vector-processor vector-store video-analyzer video-capture video-clipper video-converter video-encoder
        video-frame-extractor video-mixer video-playback video-processor video-scene-detector web-browser
        web-scraper websocket-client websocket-server
        """
    ),
    ("component", "task"): _names(
        """
        audio-text-alignment depth-estimation face-detection face-embedding face-emotion-classification
        face-swap face-tracking image-background-removal image-edge-detection image-embedding image-generation
        image-segmentation image-text-scoring image-text-to-text image-to-3d image-to-text image-to-video
        image-upscale image-upscaling lip-sync motion-generation music-beat-tracking music-embedding
        music-generation music-pitch-estimation music-source-separation music-transcription object-detection
        object-tracking pose-detection pose-tracking shot-boundary-detection speaker-diarization speech-to-text
        talking-head text-to-image text-to-speech text-to-video typed-decision video-embedding
        video-text-scoring video-to-video vision-text-encoding voice-activity-detection voice-embedding
        """
    ),
    ("component", "driver"): _names("custom llamacpp sglang tensorrt unsloth vllm"),
    ("component", "quantization"): _names("awq fp8 gptq int4 nf4"),
    ("component", "preload"): _names("false False FALSE"),
    ("adapter", "type"): _names("mcp-server queue-subscriber"),
    ("webui", "driver"): _names("dynamic static"),
    ("runtime", "type"): _names("embedded native virtualenv"),
    ("job", "type"): _names("accumulate fan-out hook interrupt pipeline"),
    ("do", "type"): _names("accumulate delay fan-out filter for-each if loop pipeline random-router switch"),
}
"""Values of one key, by the kind of block and the key."""

_DECISIVE: Final = {
    ("adapter", "type"),
    ("component", "task"),
    ("component", "type"),
    ("job", "type"),
    ("do", "type"),
    ("webui", "driver"),
}
"""Values without which nothing else in the block can be judged."""


class Refused(NamedTuple):
    """The rest of a file, a problem for each thing refused, and the places of the blocks that these stood in."""

    rest: Mapping
    problems: tuple[Problem, ...]
    damaged: frozenset[Mark]


def refuse(root: Mapping) -> Refused:
    """The file, in today's dialect, without what is not supported yet."""
    problems: list[Problem] = []
    damaged: set[Mark] = set()

    def judge(block: Mapping, kind: str) -> Mapping | None:
        refused = {key: problem for key, entry in block.entries.items() if (problem := _judge(kind, key, entry))}
        if refused:
            damaged.add(block.mark)
        decisive = next((problem for key, problem in refused.items() if (kind, key) in _DECISIVE), None)
        if decisive:
            problems.append(decisive)
            return Mapping({}, block.mark) if kind == "do" else None
        problems.extend(refused.values())
        return Mapping({key: entry for key, entry in block.entries.items() if key not in refused}, block.mark)

    pruned = rewrite(root, "file", judge)
    assert isinstance(pruned, Mapping), "a file's own keys choose nothing"
    return Refused(pruned, tuple(problems), frozenset(damaged))


def refused_keys(kind: str) -> frozenset[str]:
    """The keys that a block of this kind will take one day."""
    every = KEYS["job"] if kind in VARIANTS["job"].values() else frozenset()
    return KEYS.get(kind, frozenset()) | every


def _judge(kind: str, key: str, entry: Entry) -> Problem | None:
    value = entry.value
    if key in refused_keys(kind):
        if kind == "do":
            return _not_yet(entry.key_mark, f"`{key}` in a `do`", "write it on the job")
        return _not_yet(entry.key_mark, f"`{key}`")
    if (kind, key) in (("job", "component"), ("do", "component")) and isinstance(value, Mapping):
        inline = "write it under `components` and name it here"
        return _not_yet(entry.key_mark, "a component inside a job", inline)
    if isinstance(value, Scalar) and value.raw in VALUES.get((kind, key), ()):
        supported = supported_values(kind, key)
        hint = f"supported: {', '.join(supported)}" if supported else None
        return _not_yet(value.mark, f"{_named(kind, key)} `{value.raw}`", hint)
    return None


def _named(kind: str, key: str) -> str:
    """What a value is called in a sentence: `component type`, `task`, `webui driver`."""
    return f"{kind} {key}" if key in ("type", "driver") else key


def supported_values(kind: str, key: str) -> list[str]:
    """What may stand there today; empty where that is no list of words."""
    if (kind, key) == ("component", "task"):
        return list(TASKS)
    if key == "type" and kind in VARIANTS:
        return list(VARIANTS[kind])
    return [*_words(MODELS[kind].model_fields[key].annotation)] if key in MODELS[kind].model_fields else []


def _words(annotation: Any) -> Iterator[str]:
    """What a closed set allows, also one that may be left out."""
    for part in get_args(annotation):
        if isinstance(part, str):
            yield part
        else:
            yield from _words(part)


def _not_yet(mark: Mark, what: str, hint: str | None = None) -> Problem:
    return Problem(mark, f"{what} is not supported yet", hint, "wrong meaning")
