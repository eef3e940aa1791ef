"""What the router and a task say to each other: one request, then lines of JSON until the last one.

A task answers `POST /predict` with `application/x-ndjson`: any number of `Delta` lines, then exactly one `Done` or
`Failed`. A refusal before the first line is an ordinary HTTP status with `{"error": {...}}` (ServiceError.to_wire).
The caller cancels by closing the connection. `GET /livez` answers as soon as the process serves, `GET /readyz` answers
200 or 503 with a `Readiness`, `GET /metrics` the text format of Prometheus.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

PREDICT_PATH = "/predict"
READY_PATH = "/readyz"
LIVE_PATH = "/livez"
METRICS_PATH = "/metrics"
CONTENT_TYPE = "application/x-ndjson"

Stage = Literal["absent", "downloading", "loading", "ready", "failed"]

FinishReason = Literal["stop", "length"]
"""Why a text ended: the model or a stop text ended it, or it was as long as it may be."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def encode(value: Any) -> bytes:
    """JSON on one line, as both sides write it."""
    return encode_text(value).encode()


def encode_text(value: Any) -> str:
    """The same, before it is UTF-8."""
    return _ENCODER.encode(value)


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """One concrete request: every expression is already rendered.

    fields: the action's fields and parameters by their catalog names, coerced by the catalog (`messages`, `text`,
        `temperature`, ...).
    seed: used for sampling when `fields` has no `seed`.
    stream: whether `Delta` lines are wanted; without, only the last line comes.
    """

    request_id: str
    fields: dict[str, Any]
    seed: int
    stream: bool

    def to_json(self) -> dict[str, Any]:
        return {"request_id": self.request_id, "fields": self.fields, "seed": self.seed, "stream": self.stream}


@dataclass(frozen=True, slots=True)
class Delta:
    """Text that came since the last one. `path` indexes the result: () one text, (i,) a list, (i, j) lists in it."""

    text: str
    path: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"type": "delta", "text": self.text, "path": list(self.path)}


@dataclass(frozen=True, slots=True)
class Done:
    """The whole result.

    usage: `prompt_tokens`, `completion_tokens`, `total_tokens`, `seed` when it was used.
    finish_reasons: one for each text of the result, in their order; empty where a task does not tell.
    """

    result: Any
    usage: dict[str, int] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    finish_reasons: list[FinishReason] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        parts = {"type": "done", "result": self.result, "usage": self.usage, "warnings": self.warnings}
        return {**parts, "finish_reasons": self.finish_reasons} if self.finish_reasons else parts


@dataclass(frozen=True, slots=True)
class Failed:
    """The request failed after its first line; `error` is ServiceError.to_wire()."""

    error: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"type": "error", "error": self.error}


Frame = Delta | Done | Failed


def parse_frame(line: dict[str, Any]) -> Frame:
    """The typed form of one line; raises KeyError or ValueError on anything else."""
    match line["type"]:
        case "delta":
            return Delta(line["text"], tuple(line["path"]))
        case "done":
            return Done(line["result"], line["usage"], line["warnings"], line.get("finish_reasons", []))
        case "error":
            return Failed(line["error"])
        case other:
            raise ValueError(f"unknown frame type {other!r}")


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far a task is. progress: 0 to 1 where known; message: the reason of a failure."""

    stage: Stage
    progress: float | None = None
    seconds_left: float | None = None
    message: str | None = None

    def to_json(self) -> dict[str, Any]:
        parts = {
            "stage": self.stage,
            "progress": self.progress,
            "seconds_left": self.seconds_left,
            "message": self.message,
        }
        return {key: value for key, value in parts.items() if value is not None}


def parse_readiness(value: Any) -> Readiness | None:
    """The typed form of what a task or the supervisor wrote; None for anything else."""
    if not isinstance(value, dict) or value.get("stage") not in get_args(Stage):
        return None
    return Readiness(value["stage"], value.get("progress"), value.get("seconds_left"), value.get("message"))
