"""The building blocks of an OpenAPI document: operations, and the answers that they can give."""

from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]

MEANINGS: Mapping[int, str] = {
    200: "Done.",
    202: "Accepted; it has not ended.",
    400: "The request cannot be read.",
    401: "The token is missing or another one.",
    403: "This Host or Origin is not allowed.",
    404: "There is no such thing.",
    408: "The body did not go on.",
    409: "The run was cancelled, or has ended already.",
    413: "The body is too large or too deep.",
    415: "The body is of a type that is not read.",
    422: "The request is readable, and something in it does not fit.",
    429: "The component is busy, and its queue is full.",
    431: "The request line and headers are too long.",
    500: "Something failed inside.",
    502: "The model's service ended or gave an unreadable answer.",
    503: "Not ready, overloaded or shutting down.",
    504: "The deadline passed.",
}
_EVERYWHERE = (400, 403, 431, 500)
"""Failures that no address can rule out."""


def json_of(schema: Mapping[str, Any]) -> Json:
    return {"application/json": {"schema": schema}}


def text_of(media_type: str) -> Json:
    return {media_type: {"schema": {"type": "string"}}}


def answer(status: int, content: Json) -> Json:
    """One entry of `responses`."""
    headers: Json = {"X-Request-Id": {"schema": {"type": "string"}, "required": True}}
    if status in (429, 503):
        headers["Retry-After"] = {"schema": {"type": "integer"}, "description": "Seconds."}
    return {"description": MEANINGS[status], "headers": headers, "content": content}


def operation(
    tag: str,
    summary: str,
    answers: Mapping[int, Json],
    *,
    failures: Iterable[int] = (),
    failure: str = "Failure",
    parameters: Iterable[Json] = (),
    description: str | None = None,
) -> Json:
    """One operation. answers: content by status; failures: statuses whose content is the schema `failure`."""
    failed = {"application/json": {"schema": {"$ref": f"#/components/schemas/{failure}"}}}
    contents = {**dict.fromkeys((*_EVERYWHERE, *failures), failed), **answers}
    described: Json = {
        "tags": [tag],
        "summary": summary,
        "responses": {str(status): answer(status, contents[status]) for status in sorted(contents)},
    }
    if description is not None:
        described["description"] = description
    if listed := list(parameters):
        described["parameters"] = listed
    return described
