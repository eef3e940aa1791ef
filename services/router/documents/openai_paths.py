"""The addresses under `/v1`, in the parts of OpenAI's shapes that we read and write."""

from collections.abc import Mapping
from typing import Any

from services.router.documents.parts import Json, json_of, operation
from services.router.documents.schemas import Schema, an_object, ref
from services.router.doors.openai_requests import CHAT, COMPLETIONS, EMBEDDINGS, Dialect
from services.router.graph import Graph
from services.router.messages import LONGEST_SESSION

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": ["number", "null"]}
_WHOLE: Schema = {"type": ["integer", "null"]}
_FAILURES = (404, 408, 409, 413, 415, 429, 502, 503, 504)
_TAG = "OpenAI"

_PARAMETERS: Mapping[str, Schema] = {
    "max_tokens": {**_WHOLE, "minimum": 1},
    "max_completion_tokens": {**_WHOLE, "minimum": 1, "description": "The same as `max_tokens`."},
    "n": {**_WHOLE, "minimum": 1, "maximum": 64},
    "seed": {**_WHOLE, "minimum": 0},
    "stop": {"type": ["string", "array", "null"], "items": _TEXT},
    "temperature": {**_NUMBER, "minimum": 0, "maximum": 100},
    "top_p": {**_NUMBER, "exclusiveMinimum": 0, "maximum": 1},
    "echo": {"type": ["boolean", "null"]},
    "stream": {"type": ["boolean", "null"]},
    "stream_options": {"type": ["object", "null"], "properties": {"include_usage": {"type": "boolean"}}},
    "encoding_format": {"enum": ["float", "base64", None]},
}

_ROLES = ("system", "developer", "user", "assistant")
_PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": _TEXT},
    "required": ["type", "text"],
}
_MESSAGES: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {
            "role": {"enum": list(_ROLES)},
            "content": {"type": ["string", "array"], "items": _PART, "minItems": 1},
        },
        "required": ["role", "content"],
    },
}
_TEXTS: Schema = {"type": ["string", "array"], "items": _TEXT, "minItems": 1}

_USAGE = an_object(
    {f"{kind}_tokens": {"type": "integer"} for kind in ("prompt", "completion", "total")},
    ["prompt_tokens", "completion_tokens", "total_tokens"],
)
_MESSAGE = an_object(
    {"role": {"const": "assistant"}, "content": _TEXT, "refusal": {"type": "null"}}, ["role", "content"]
)


def _request(dialect: Dialect, content: Schema, graph: Graph) -> Schema:
    fitting = [component for component in graph.components.values() if component.task.name == dialect.task]
    names = sorted({name for component in fitting for name in (component.id, component.model)})
    properties: dict[str, Schema] = {
        "model": {
            **({"enum": names} if names else _TEXT),
            "description": "A component's id, or the name of its model.",
        },
        dialect.content: content,
        **{name: _PARAMETERS[name] for name in (*dialect.own, *dialect.parameters)},
        "user": {"type": ["string", "null"], "maxLength": LONGEST_SESSION},
        "metadata": {"type": ["object", "null"]},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": ["model", dialect.content],
        "description": "OpenAI's other parameters are accepted with the values that ask for nothing.",
    }


def _answer(kind: str, **choice: Schema) -> Schema:
    choices = an_object(
        {
            "index": {"type": "integer"},
            **choice,
            "logprobs": {"type": "null"},
            "finish_reason": {"enum": ["stop", "length"]},
        },
        ["index", *choice, "finish_reason"],
    )
    return an_object(
        {
            "id": _TEXT,
            "object": {"const": kind},
            "created": {"type": "integer"},
            "model": _TEXT,
            "choices": {"type": "array", "items": choices},
            "usage": _USAGE,
            "warnings": {"type": "array", "items": ref("Warning")},
        },
        ["id", "object", "created", "model", "choices", "usage"],
    )


_VECTOR = an_object(
    {
        "object": {"const": "embedding"},
        "index": {"type": "integer"},
        "embedding": {
            "type": ["array", "string"],
            "items": {"type": "number"},
            "description": "Numbers, or base64 of 32-bit floats, little end first.",
        },
    },
    ["object", "index", "embedding"],
)
_EMBEDDINGS = an_object(
    {
        "object": {"const": "list"},
        "data": {"type": "array", "items": _VECTOR},
        "model": _TEXT,
        "usage": an_object(
            {f"{kind}_tokens": {"type": "integer"} for kind in ("prompt", "total")}, ["prompt_tokens", "total_tokens"]
        ),
        "warnings": {"type": "array", "items": ref("Warning")},
    },
    ["object", "data", "model", "usage"],
)

_MODEL = an_object(
    {"id": _TEXT, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": _TEXT},
    ["id", "object", "created", "owned_by"],
)

_FAILURE = an_object(
    {
        "error": an_object(
            {"message": _TEXT, "type": _TEXT, "param": {"type": ["string", "null"]}, "code": _TEXT},
            ["message", "type", "param", "code"],
        )
    },
    ["error"],
)


def openai_schemas(graph: Graph) -> dict[str, Schema]:
    """Models are those of the file."""
    return {
        "OpenAIFailure": _FAILURE,
        "Model": _MODEL,
        "ChatCompletionRequest": _request(CHAT, _MESSAGES, graph),
        "ChatCompletion": _answer("chat.completion", message=_MESSAGE),
        "CompletionRequest": _request(COMPLETIONS, _TEXTS, graph),
        "Completion": _answer("text_completion", text=_TEXT),
        "EmbeddingsRequest": _request(EMBEDDINGS, _TEXTS, graph),
        "Embeddings": _EMBEDDINGS,
    }


def openai_paths() -> Json:
    """Their errors have OpenAI's shape, and a request that does not fit is a 400."""
    models = an_object({"object": {"const": "list"}, "data": {"type": "array", "items": ref("Model")}}, ["data"])
    name = {"name": "model", "in": "path", "required": True, "schema": _TEXT}
    return {
        "/v1/models": {"get": _operation("List the models", {200: json_of(models)})},
        "/v1/models/{model}": {
            "get": _operation("Show a model", {200: json_of(ref("Model"))}, failures=(404,), parameters=[name])
        },
        CHAT.path: {"post": _completing("Continue a conversation", "ChatCompletion")},
        COMPLETIONS.path: {"post": _completing("Continue a text", "Completion")},
        EMBEDDINGS.path: {"post": _asking("Embed texts", "Embeddings")},
    }


def _operation(summary: str, answers: Mapping[int, Json], **more: Any) -> Json:
    return operation(_TAG, summary, answers, failure="OpenAIFailure", **more)


def _asking(summary: str, schema: str, **more: Any) -> Json:
    described = _operation(summary, {200: json_of(ref(schema))}, failures=_FAILURES, **more)
    described["requestBody"] = {"required": True, "content": json_of(ref(f"{schema}Request"))}
    return described


def _completing(summary: str, schema: str) -> Json:
    streams = "With `stream: true` the answer is a stream of server-sent events that ends with `data: [DONE]`."
    described = _asking(summary, schema, description=streams)
    described["responses"]["200"]["content"]["text/event-stream"] = {"schema": ref("Event")}
    return described
