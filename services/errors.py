"""The one error family of everything that answers over HTTP."""

from collections.abc import Mapping
from typing import Any


class ServiceError(Exception):
    """A refusal or failure with an HTTP status, a stable code and a sentence of ours.

    `message` never holds a library's own text, a path or a trace: it is sent to clients as it is.
    `retry_after_s` becomes the Retry-After header; set it on every 429 and 503.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        field: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.field = field
        self.retry_after_s = retry_after_s

    def to_json(self) -> dict[str, Any]:
        """The inside of `error: {...}`, nulls left out; the caller adds `request_id`."""
        parts = {"code": self.code, "message": self.message, "hint": self.hint, "field": self.field}
        return {key: value for key, value in parts.items() if value is not None}

    def to_wire(self) -> dict[str, Any]:
        """Everything, as a task sends it to the router."""
        wire: dict[str, Any] = {**self.to_json(), "status": self.status}
        if self.retry_after_s is not None:
            wire["retry_after_s"] = self.retry_after_s
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "ServiceError":
        """The reverse of `to_wire`; raises KeyError when a required part is absent."""
        return cls(
            int(wire["status"]),
            str(wire["code"]),
            str(wire["message"]),
            hint=wire.get("hint"),
            field=wire.get("field"),
            retry_after_s=wire.get("retry_after_s"),
        )
