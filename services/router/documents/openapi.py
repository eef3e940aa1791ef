"""The OpenAPI 3.1 document of one router: its addresses, with the inputs and outputs of the file's own workflows."""

from collections.abc import Iterable, Mapping

from services.router.documents.openai_paths import openai_paths, openai_schemas
from services.router.documents.parts import Json, answer, json_of, operation, text_of
from services.router.documents.schemas import FIXED, Schema, WorkflowSchemas, ref, workflow_schemas
from services.router.doors.probes import open_paths
from services.router.graph import Graph

_TASK_ID = {"name": "task_id", "in": "path", "required": True, "schema": {"type": "string"}}
_WORKFLOW_ID = {"name": "workflow_id", "in": "path", "required": True, "schema": {"type": "string"}}

_RUN_FAILURES = (400, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504)

_ABOUT = """\
Runs of the workflows of one file. Every answer has the header `X-Request-Id`, which is the request's own where it sent
one (up to 64 letters, digits, `.`, `_`, `-`); a W3C `traceparent` goes on to the models' services. Errors have one
shape: a status that says what kind, a stable `code`, a sentence, and often a `hint`."""

_CREATE = """\
Waits for the run's end unless `wait_for_completion` is false. With `Accept: text/event-stream`, or with `output_only`
where the file asks for streaming, the answer is a stream of server-sent events."""

_EVENTS = """\
Each event's `data` is a piece of the text when the output is one text, else `{"path": "generated", "delta": " a"}`.
Comments come in silence. The last event is `done` with `{task_id, output, usage, warnings}`; where the run fails it is
`error` with the run."""

_EVENTS_EXAMPLE = """\
data: Hello

data:  world

event: done
data: {"task_id":"01JD0000000000000000000000","output":"Hello world"}

"""

_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "description": "With `wait_for_completion: false`: the same key answers the same run; without, it is a 422.",
}


def openapi(graph: Graph, *, base_path: str, title: str, version: str, token: bool) -> Json:
    """The whole document. token: whether the router wants one."""
    public = [workflow for workflow in graph.workflows.values() if not workflow.private]
    workflows = workflow_schemas(public, graph.default)
    paths = {**_runs(base_path, workflows), **_probes(base_path), **openai_paths()}
    schemas: dict[str, Schema] = {**FIXED, **openai_schemas(graph)}
    for workflow in workflows:
        schemas |= workflow.definitions()
    document: Json = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for path, operations in paths.items():
            for described in operations.values():
                _with_token(described, is_open=path in open_paths(base_path))
    return document


def _with_token(described: Json, *, is_open: bool) -> None:
    if is_open:
        described["security"] = []
    else:
        openai = "OpenAI" in described["tags"]
        described["responses"]["401"] = answer(401, json_of(ref("OpenAIFailure" if openai else "Failure")))


def _runs(base: str, workflows: list[WorkflowSchemas]) -> Json:
    flag = {"in": "query", "schema": {"type": "boolean", "default": False}}
    include_schema = {**flag, "name": "include_schema", "description": "Each with its inputs and its output."}
    output_only = {**flag, "name": "output_only", "description": "The bare output instead of the run."}
    limit = {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    }
    before = {
        "name": "before",
        "in": "query",
        "schema": {"type": "string", "pattern": "^[0-9A-Z]{26}$"},
        "description": "The last id of the page before.",
    }
    names = {"type": "array", "items": {"anyOf": [ref("WorkflowName"), ref("Workflow")]}}
    return {
        f"{base}/workflows/runs": {"post": _create_run(workflows)},
        f"{base}/workflows": {
            "get": operation("Workflows", "List the workflows", {200: json_of(names)}, parameters=[include_schema])
        },
        f"{base}/workflows/{{workflow_id}}/schema": {
            "get": operation(
                "Workflows",
                "Show a workflow's inputs and output",
                {200: json_of(ref("Workflow"))},
                failures=(404,),
                parameters=[_WORKFLOW_ID],
            )
        },
        f"{base}/tasks": {
            "get": operation(
                "Runs",
                "List the runs that are kept, newest first",
                {200: json_of({"type": "array", "items": ref("RunSummary")})},
                failures=(422, 503),
                parameters=[limit, before],
            )
        },
        f"{base}/tasks/{{task_id}}": {
            "get": operation(
                "Runs",
                "Read a run",
                {200: json_of(_any_of([ref("Run")], workflows)), 202: json_of(ref("RunSummary"))},
                failures=_RUN_FAILURES,
                parameters=[_TASK_ID, output_only],
                description="With `output_only`: 202 while it runs, and a run that failed answers with its own status.",
            )
        },
        f"{base}/tasks/{{task_id}}/cancel": {
            "post": operation(
                "Runs",
                "Cancel a run",
                {200: json_of(ref("RunSummary"))},
                failures=(404, 409, 503),
                parameters=[_TASK_ID],
                description="409 when it has ended.",
            )
        },
    }


def _create_run(workflows: list[WorkflowSchemas]) -> Json:
    requests = [ref(workflow.request) for workflow in workflows]
    form = {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "The same keys with nested names, such as `input[prompt]`.",
    }
    described = operation(
        "Runs",
        "Run a workflow",
        {200: json_of(_any_of([ref(workflow.run) for workflow in workflows], workflows)), 202: json_of(ref("Run"))},
        failures=_RUN_FAILURES,
        parameters=[_KEY],
        description=f"{_CREATE}\n\n{_EVENTS}",
    )
    described["responses"]["200"]["content"]["text/event-stream"] = {
        "schema": ref("Event"),
        "example": _EVENTS_EXAMPLE,
    }
    for status in ("200", "202"):
        described["responses"][status]["headers"]["X-Task-Id"] = {"schema": {"type": "string"}, "required": True}
    described["responses"]["202"]["headers"]["Location"] = {"schema": {"type": "string"}, "required": True}
    described["requestBody"] = {
        "required": True,
        "content": {
            **json_of({"anyOf": requests} if requests else {"type": "object"}),
            "multipart/form-data": {"schema": form},
        },
    }
    return described


def _any_of(first: Iterable[Schema], workflows: Iterable[WorkflowSchemas]) -> Schema:
    return {"anyOf": [*first, *(ref(workflow.output) for workflow in workflows)]}


def _probes(base: str) -> Json:
    health = json_of(ref("Health"))
    ready: Mapping[int, Json] = {status: json_of(ref("Ready")) for status in (200, 503)}
    accepting: Mapping[int, Json] = {status: json_of(ref("Readiness")) for status in (200, 503)}
    return {
        f"{base}/health": {"get": operation("Health", "Whether the router lives", {200: health})},
        f"{base}/ready": {"get": operation("Health", "How far each component is", ready)},
        "/livez": {"get": operation("Health", "Whether the router lives", {200: health})},
        "/readyz": {"get": operation("Health", "Whether the router takes runs", accepting)},
        "/metrics": {"get": operation("Health", "Counters for Prometheus", {200: text_of("text/plain")})},
        "/openapi.json": {
            "get": operation("Health", "This document", {200: json_of({"type": "object"})}),
        },
        "/docs": {"get": operation("Health", "A page that shows this document", {200: text_of("text/html")})},
    }
