"""Answers and errors in OpenAI's shapes."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from services.errors import ServiceError
from services.router.answers import error_headers, json_response, to_json
from services.router.messages import Run, RunStatus
from services.router.openai_requests import CHAT, Dialect, Order

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_NO_RETRY = (409, 504)
"""A run that was cancelled or took too long; OpenAI's client would otherwise start it twice more."""


def openai_error(error: ServiceError) -> Response:
    """`{"error": {message, type, param, code}}`; what has the wrong meaning is a 400 here, as OpenAI has no 422."""
    headers = error_headers(error)
    if error.status in _NO_RETRY:
        headers["X-Should-Retry"] = "false"
    return json_response({"error": _error_json(error)}, _status(error), headers)


def _status(error: ServiceError) -> int:
    return 400 if error.status == 422 else error.status


def _error_json(error: ServiceError) -> dict[str, Any]:
    message = f"{error.message} {error.hint}" if error.hint else error.message
    kind = _TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return {"message": message, "type": kind, "param": error.field, "code": error.code}


def failed_answer(run: Run, order: Order) -> Response:
    """The answer of a run that did not complete."""
    answer = openai_error(_failure(run, order))
    answer.headers["X-Task-Id"] = run.task_id
    return answer


def _failure(run: Run, order: Order) -> ServiceError:
    """Why a run did not complete, with parameters called as the client calls them."""
    error = run.error or {}
    field = error.get("field")
    return ServiceError(
        run.error_status,
        error["code"],
        _renamed(error["message"], order),
        hint=_renamed(error["hint"], order) if "hint" in error else None,
        field=order.names.get(field, field) if field is not None else None,
        retry_after_s=run.retry_after_s,
    )


def _renamed(text: str, order: Order) -> str:
    for ours, theirs in order.names.items():
        text = text.replace(f'"{ours}"', f'"{theirs}"')
    return text


def models_json(ids: list[str], created: int) -> dict[str, Any]:
    return {"object": "list", "data": [model_json(name, created) for name in ids]}


def model_json(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "model-compose"}


@dataclass(slots=True)
class Answer:
    """One answer, whole or in chunks. begun: the choices that have had their first chunk."""

    dialect: Dialect
    order: Order
    created: int = field(default_factory=lambda: int(time.time()))
    begun: set[int] = field(default_factory=set)

    def whole(self, run: Run) -> dict[str, Any]:
        """The body for a completed run."""
        texts = _texts(run.output)
        choices = [
            {"index": index, **self._message(text), "logprobs": None, "finish_reason": _reason(run, index)}
            for index, text in enumerate(texts)
        ]
        answer = {**self._head(run, ""), "choices": choices, "usage": _usage(run)}
        return {**answer, "warnings": run.warnings} if run.warnings else answer

    def chunk(self, run: Run, path: str, text: str) -> str:
        """The event for text that comes next at a path of the output: "", "[choice]" or "[prompt][choice]"."""
        return _event(self._part(run, self._choice(path), text, None))

    def end(self, run: Run) -> str:
        """What closes the stream of a run that has ended."""
        if run.status is not RunStatus.COMPLETED:
            return _event({"error": _error_json(_failure(run, self.order))})
        choices = range(self.order.prompts * self.order.n)
        events = [self._part(run, index, None, _reason(run, index)) for index in choices]
        if run.warnings:
            events[-1]["warnings"] = run.warnings
        if self.order.include_usage:
            events.append({**self._head(run, ".chunk"), "choices": [], "usage": _usage(run)})
        return "".join(map(_event, events)) + "data: [DONE]\n\n"

    def _part(self, run: Run, index: int, text: str | None, reason: str | None) -> dict[str, Any]:
        choice = {"index": index, **self._delta(index, text), "logprobs": None, "finish_reason": reason}
        chunk = {**self._head(run, ".chunk"), "choices": [choice]}
        return {**chunk, "usage": None} if self.order.include_usage else chunk

    def _head(self, run: Run, suffix: str) -> dict[str, Any]:
        prefix, kind = ("chatcmpl", f"chat.completion{suffix}") if self.dialect is CHAT else ("cmpl", "text_completion")
        return {"id": f"{prefix}-{run.task_id}", "object": kind, "created": self.created, "model": self.order.model}

    def _message(self, text: str) -> dict[str, Any]:
        if self.dialect is CHAT:
            return {"message": {"role": "assistant", "content": text, "refusal": None}}
        return {"text": text}

    def _delta(self, index: int, text: str | None) -> dict[str, Any]:
        if self.dialect is not CHAT:
            return {"text": text or ""}
        first = index not in self.begun
        self.begun.add(index)
        delta: dict[str, Any] = {"role": "assistant"} if first else {}
        return {"delta": {**delta, "content": text or ""} if first or text is not None else delta}

    def _choice(self, path: str) -> int:
        match [int(number) for number in re.findall(r"\d+", path)]:
            case [prompt, sequence]:
                return prompt * self.order.n + sequence
            case [index]:
                return index
        return 0


def _event(value: Mapping[str, Any]) -> str:
    return f"data: {to_json(value)}\n\n"


def _texts(output: Any) -> list[str]:
    """The texts of a result in order: one, a list, or lists in a list."""
    return [text for item in output for text in _texts(item)] if isinstance(output, list) else [output]


def _reason(run: Run, index: int) -> str:
    return run.finish_reasons[index] if index < len(run.finish_reasons) else "stop"


def _usage(run: Run) -> dict[str, int]:
    return {f"{kind}_tokens": run.usage.get(f"{kind}_tokens", 0) for kind in ("prompt", "completion", "total")}
