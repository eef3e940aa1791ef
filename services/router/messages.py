"""What a client says when it starts a run, and what it reads about one."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from ulid import ULID

from services.catalog import GENERATION
from services.errors import ServiceError
from services.router.names import did_you_mean
from services.router.values import to_json
from services.wire import FinishReason

UNSUPPORTED = ("callback_url", "subscribe_task")
"""Keys of other servers of this dialect; harmless when null, refused when set."""
LONGEST_SESSION = 255
_DRAIN_RETRY_S = 5
MOST_METADATA = 16_384
"""In characters, of the metadata as JSON: they stay in memory with the last runs, and are read with each list."""


class RunStatus(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    PROCESSING = "processing"
    STREAMING = "streaming"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The body of `POST /workflows/runs`.

    workflow_id: None takes the default workflow.
    history: earlier turns, oldest first, that go before the last user message of the workflow's chat action.
    seed: for every action that names none; `random` draws one, None derives it from the rendered request.
    client: who asks; the door's word, no key of the body. Clients take turns where runs wait.
    """

    workflow_id: str | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    wait_for_completion: bool = True
    output_only: bool = False
    session_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    history: tuple[Mapping[str, str], ...] = ()
    seed: int | Literal["random"] | None = None
    client: str = ""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


KEYS = tuple(name for name in RunRequest.__dataclass_fields__ if name != "client")


def parse_run_request(body: Any) -> RunRequest:
    """The typed form of a body; raises ServiceError 422 that names the key, 400 for keys that exclude each other."""
    if not isinstance(body, dict):
        raise ServiceError(
            422, "invalid_body", "The body must be a JSON object.", hint='Send {"input": {"name": "value"}}.'
        )
    for key, value in body.items():
        if key in UNSUPPORTED:
            if value:
                raise ServiceError(
                    422, "unsupported_field", f'"{key}" is not supported.', hint="Poll the task instead.", field=key
                )
        elif key not in KEYS:
            raise _unknown_key(key)
    request = RunRequest(
        workflow_id=_text(body, "workflow_id"),
        input=_object(body, "input") or {},
        wait_for_completion=_boolean(body, "wait_for_completion", True),
        output_only=_boolean(body, "output_only", False),
        session_id=_fit(short_session, _text(body, "session_id"), "session_id"),
        metadata=_fit(small_metadata, _object(body, "metadata"), "metadata"),
        history=_history(body.get("history")),
        seed=_fit(_seed, body.get("seed"), "seed"),
    )
    if request.output_only and not request.wait_for_completion:
        raise ServiceError(
            400,
            "output_only_async",
            '"output_only" needs the finished run, and "wait_for_completion": false does not wait for it.',
            hint="Leave one of them out, and read the output at /tasks/{task_id}?output_only=true.",
            field="output_only",
        )
    return request


def short_session(value: str | None) -> str | None:
    """The session's id; raises ValueError with a phrase that completes its name."""
    if value is not None and len(value) > LONGEST_SESSION:
        raise ValueError(f"must have at most {LONGEST_SESSION} characters")
    return value


def small_metadata(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """The metadata; raises ValueError with a phrase that completes its name."""
    if value is not None and len(to_json(value)) > MOST_METADATA:
        raise ValueError(f"must have at most {MOST_METADATA:,} characters as JSON")
    return value


def _unknown_key(key: str) -> ServiceError:
    hint = (
        did_you_mean(key, KEYS)
        or f'The workflow\'s own inputs belong into "input": {{"input": {{"{key[:40]}": ...}}}}.'
    )
    return ServiceError(422, "unknown_field", f'Unknown key "{key[:80]}" in the body.', hint=hint, field=key[:80])


def _wrong_type(key: str, expected: str) -> ServiceError:
    return ServiceError(422, "invalid_field", f'"{key}" must be {expected}.', field=key)


def _text(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is None or isinstance(value, str):
        return value
    raise _wrong_type(key, "text")


def _object(body: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    value = body.get(key)
    if value is None or isinstance(value, dict):
        return value
    raise _wrong_type(key, "an object of names and values")


def _boolean(body: Mapping[str, Any], key: str, default: bool) -> bool:
    """Text counts too: a form has nothing else."""
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _wrong_type(key, "true or false")


def _history(value: Any) -> tuple[Mapping[str, str], ...]:
    if value is None:
        return ()
    expected = 'a list of {"role": "user" or "assistant", "content": text}'
    if not isinstance(value, list):
        raise _wrong_type("history", expected)
    for turn in value:
        if (
            not isinstance(turn, dict)
            or turn.keys() != {"role", "content"}
            or turn["role"] not in ("user", "assistant")
            or not isinstance(turn["content"], str)
        ):
            raise _wrong_type("history", expected)
    return tuple(value)


def _seed(value: Any) -> Any:
    return None if value is None else GENERATION["seed"].coerce(value)


def _fit(check: Callable[[Any], Any], value: Any, key: str) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ServiceError(422, "invalid_field", f'"{key}" {error}.', field=key) from None


@dataclass(slots=True)
class Run:
    """One run, from its acceptance to its end.

    error: the inside of the answer's `error`, with `request_id`.
    error_status, retry_after_s: the HTTP status and Retry-After that belong to `error`.
    finish_reasons: of every text that its calls gave; only the OpenAI doors show them.
    waiting: how many of its calls wait for services that are not there.
    missed: when the last such call was ended, by the loop's clock, and what to say if that was at the run's deadline.
    """

    task_id: str
    workflow_id: str
    request_id: str
    kept: bool
    """Whether the run is kept for the retention time (asynchronous runs are) or among the last ones."""
    session_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    status: RunStatus = RunStatus.PENDING
    output: Any = None
    error: dict[str, Any] | None = None
    error_status: int = 500
    retry_after_s: int | None = None
    usage: dict[str, int] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    finish_reasons: list[FinishReason] = field(default_factory=list)
    waiting: int = 0
    missed: tuple[float, ServiceError] | None = None

    def fail(self, error: ServiceError) -> None:
        self.status = RunStatus.FAILED
        self.error = error_json(error, self.request_id)
        self.error_status = error.status
        self.retry_after_s = error.retry_after_s

    def cancel(self) -> None:
        self.fail(cancelled())
        self.status = RunStatus.CANCELLED

    def summary(self) -> dict[str, Any]:
        """What a list of runs shows: no contents."""
        parts = {"task_id": self.task_id, "status": self.status, "workflow_id": self.workflow_id, "error": self.error}
        return {key: value for key, value in parts.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """The documented answer, nulls and empty parts left out."""
        parts = {
            "task_id": self.task_id,
            "status": self.status,
            "workflow_id": self.workflow_id,
            "output": self.output,
            "error": self.error,
            "usage": self.usage or None,
            "warnings": self.warnings or None,
            "session_id": self.session_id,
            "metadata": self.metadata,
        }
        return {key: value for key, value in parts.items() if value is not None}


def cancelled() -> ServiceError:
    """Why a cancelled run has no output."""
    return ServiceError(409, "cancelled", "The run was cancelled.")


def shutting_down() -> ServiceError:
    """Why a router that is about to end takes no run, or waits no longer for a task."""
    return ServiceError(
        503,
        "shutting_down",
        "The router is shutting down and takes no new runs.",
        hint="Try again when it is up again.",
        retry_after_s=_DRAIN_RETRY_S,
    )


def error_json(error: ServiceError, request_id: str) -> dict[str, Any]:
    """The inside of every `error`."""
    return {**error.to_json(), "request_id": request_id}


def warning(code: str, message: str, field: str | None = None) -> dict[str, str]:
    """One entry of a run's `warnings`."""
    parts = {"code": code, "message": message}
    return parts if field is None else {**parts, "field": field}


def new_task_id() -> str:
    """A ULID whose 80 random bits are drawn anew each time; a monotonic one would let a client guess its neighbours."""
    return str(ULID.from_bytes((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)))
