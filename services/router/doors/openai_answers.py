"""Answers and errors in OpenAI's shapes."""

import base64
import re
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from starlette.responses import Response

from services.errors import ServiceError
from services.router.doors.answers import error_headers, json_response
from services.router.doors.openai_requests import Order
from services.router.messages import Run, RunStatus
from services.router.values import to_json

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


class Answer(ABC):
    """One answer."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._created = int(time.time())

    @abstractmethod
    def whole(self, run: Run) -> dict[str, Any]:
        """The body for a completed run."""

    def failed(self, run: Run) -> Response:
        """The answer for a run that did not complete."""
        response = openai_error(_failure(run, self._order))
        response.headers["X-Task-Id"] = run.task_id
        return response


class VectorAnswer(Answer):
    """Of `/v1/embeddings`."""

    def whole(self, run: Run) -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": index, "embedding": self._vector(vector)}
            for index, vector in enumerate(run.output)
        ]
        usage = {name: count for name, count in _usage(run).items() if name != "completion_tokens"}
        answer = {"object": "list", "data": data, "model": self._order.model, "usage": usage}
        return {**answer, "warnings": run.warnings} if run.warnings else answer

    def _vector(self, vector: Sequence[float]) -> Sequence[float] | str:
        """As it is, or as base64 of 32-bit floats, little end first."""
        if not self._order.base64:
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


class ChoiceAnswer(Answer):
    """Texts to choose from, whole or in chunks."""

    prefix: ClassVar[str]
    """Of its id."""
    whole_type: ClassVar[str]
    chunk_type: ClassVar[str]

    def whole(self, run: Run) -> dict[str, Any]:
        choices = [
            {"index": index, **self._message(text), "logprobs": None, "finish_reason": _reason(run, index)}
            for index, text in enumerate(_texts(run.output))
        ]
        answer = {**self._head(run, self.whole_type), "choices": choices, "usage": _usage(run)}
        return {**answer, "warnings": run.warnings} if run.warnings else answer

    def chunk(self, run: Run, path: str, text: str) -> str:
        """The event for text that comes next at a path of the output: "", "[choice]" or "[prompt][choice]"."""
        return _event(self._part(run, self._choice(path), text, None))

    def end(self, run: Run) -> str:
        """What closes the stream of a run that has ended."""
        if run.status is not RunStatus.COMPLETED:
            return _event({"error": _error_json(_failure(run, self._order))})
        choices = range(self._order.prompts * self._order.n)
        events = [self._part(run, index, "", _reason(run, index)) for index in choices]
        if run.warnings:
            events[-1]["warnings"] = run.warnings
        if self._order.include_usage:
            events.append({**self._head(run, self.chunk_type), "choices": [], "usage": _usage(run)})
        return "".join(map(_event, events)) + "data: [DONE]\n\n"

    @abstractmethod
    def _message(self, text: str) -> dict[str, Any]:
        """The text as a part of a choice."""

    @abstractmethod
    def _delta(self, index: int, text: str) -> dict[str, Any]:
        """More text of a choice, none at its end, as a part of a chunk's choice."""

    def _part(self, run: Run, index: int, text: str, reason: str | None) -> dict[str, Any]:
        choice = {"index": index, **self._delta(index, text), "logprobs": None, "finish_reason": reason}
        chunk = {**self._head(run, self.chunk_type), "choices": [choice]}
        return {**chunk, "usage": None} if self._order.include_usage else chunk

    def _head(self, run: Run, kind: str) -> dict[str, Any]:
        identity = f"{self.prefix}-{run.task_id}"
        return {"id": identity, "object": kind, "created": self._created, "model": self._order.model}

    def _choice(self, path: str) -> int:
        match [int(number) for number in re.findall(r"\d+", path)]:
            case [prompt, sequence]:
                return prompt * self._order.n + sequence
            case [index]:
                return index
        return 0


class ChatAnswer(ChoiceAnswer):
    """Of `/v1/chat/completions`. The first chunk of a choice names the role."""

    prefix, whole_type, chunk_type = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self._begun: set[int] = set()

    def _message(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _delta(self, index: int, text: str) -> dict[str, Any]:
        if index not in self._begun:
            self._begun.add(index)
            return {"delta": {"role": "assistant", "content": text}}
        return {"delta": {"content": text} if text else {}}


class TextAnswer(ChoiceAnswer):
    """Of `/v1/completions`."""

    prefix, whole_type, chunk_type = "cmpl", "text_completion", "text_completion"

    def _message(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _delta(self, index: int, text: str) -> dict[str, Any]:  # noqa: ARG002  # only a chat's depends on it
        return {"text": text}


def _event(value: Mapping[str, Any]) -> str:
    return f"data: {to_json(value)}\n\n"


def _texts(output: Any) -> list[str]:
    """The texts of a result in order: one, a list, or lists in a list."""
    return [text for item in output for text in _texts(item)] if isinstance(output, list) else [output]


def _reason(run: Run, index: int) -> str:
    return run.finish_reasons[index] if index < len(run.finish_reasons) else "stop"


def _usage(run: Run) -> dict[str, int]:
    return {f"{kind}_tokens": run.usage.get(f"{kind}_tokens", 0) for kind in ("prompt", "completion", "total")}
