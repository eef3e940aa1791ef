"""Answers as JSON, and the one shape of every error."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from services.errors import ServiceError
from services.router.messages import Run, error_json
from services.router.values import to_json
from services.writing import write


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(to_json(value), status, headers, media_type="application/json")


async def large_response(value: Any, headers: Mapping[str, str]) -> Response:
    """The answer with what may be a large result."""
    return Response(await write(value, to_json), 200, headers, media_type="application/json")


def error_response(error: ServiceError, request_id: str) -> Response:
    """`{"status": "failed", "error": {...}}` with the status and headers that belong to the error."""
    body = {"status": "failed", "error": error_json(error, request_id)}
    return json_response(body, error.status, error_headers(error))


def failed_response(run: Run) -> Response:
    """A run that was waited for and did not complete."""
    headers = {"X-Task-Id": run.task_id}
    if run.retry_after_s is not None:
        headers["Retry-After"] = str(run.retry_after_s)
    return json_response(run.to_json(), run.error_status, headers)


def error_headers(error: ServiceError) -> dict[str, str]:
    """What the answer to a refusal says in its head."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status in (408, 413, 415):
        headers["Connection"] = "close"  # the rest of the body is not read
    return headers
