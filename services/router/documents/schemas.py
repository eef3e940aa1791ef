"""JSON schemas of what the runs API reads and answers: those that are the same for all files, and each workflow's."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from services.catalog import MAX_SEED
from services.router.analysis.inputs import Input
from services.router.analysis.outputs import Opaque, Shape, word_of
from services.router.graph import Workflow
from services.router.messages import LONGEST_SESSION, RunStatus
from services.wire import Stage

Schema = dict[str, Any]

_WORDS: Mapping[str, Schema] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "list": {"type": "array"},
    "object": {"type": "object"},
    "json": {},
    "base64": {"type": "string", "contentEncoding": "base64"},
}
"""The words that inputs and outputs have for their types; every other one is a text."""


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def an_object(properties: Mapping[str, Any], required: Iterable[str] = ()) -> Schema:
    """An object that has no other keys."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def or_null(schema: Schema) -> Schema:
    if "type" not in schema:
        return schema
    return {
        **schema,
        "type": [*(schema["type"] if isinstance(schema["type"], list) else [schema["type"]]), "null"],
        **({"enum": [*schema["enum"], None]} if "enum" in schema else {}),
    }


_TEXT: Schema = {"type": "string"}
_NULL: Schema = {"type": "null"}
_TASK_ID: Schema = {"type": "string", "pattern": "^[0-9A-HJKMNP-TV-Z]{26}$", "description": "A ULID."}
_METADATA: Schema = {"type": "object", "description": "Kept with the run; expressions read it as `context.metadata`."}
_USAGE: Schema = {
    "type": "object",
    "additionalProperties": {"type": "integer"},
    "description": "`prompt_tokens`, `completion_tokens`, `total_tokens`, and `seed` where one was used.",
}

_RUN: Schema = {
    "task_id": _TASK_ID,
    "status": {"enum": [str(status) for status in RunStatus]},
    "workflow_id": _TEXT,
    "output": {"description": "What the workflow gives; absent when it is null or the run has not completed."},
    "error": ref("Error"),
    "usage": _USAGE,
    "warnings": {"type": "array", "items": ref("Warning")},
    "session_id": _TEXT,
    "metadata": _METADATA,
}

FIXED: Mapping[str, Schema] = {
    "Error": an_object(
        {
            "code": {"type": "string", "description": "Stable, for programs."},
            "message": {"type": "string", "description": "One sentence for people."},
            "hint": {"type": "string", "description": "What to do about it."},
            "field": {"type": "string", "description": "The key, header or parameter that it is about."},
            "request_id": {"type": "string", "description": "Also in the header X-Request-Id, and in the logs."},
        },
        ["code", "message", "request_id"],
    ),
    "Warning": an_object({"code": _TEXT, "message": _TEXT, "field": _TEXT}, ["code", "message"]),
    "Run": an_object(_RUN, ["task_id", "status", "workflow_id"]),
    "RunSummary": an_object(
        {key: _RUN[key] for key in ("task_id", "status", "workflow_id", "error")}, ["task_id", "status", "workflow_id"]
    ),
    "Failure": {
        **an_object({**_RUN, "status": {"enum": ["failed", "cancelled"]}}, ["status", "error"]),
        "description": "A refusal, or a run that did not complete; a refusal has `status` and `error` alone.",
    },
    "WorkflowName": an_object(
        {"workflow_id": _TEXT, "title": or_null(_TEXT), "description": or_null(_TEXT)},
        ["workflow_id", "title", "description"],
    ),
    "Workflow": an_object(
        {
            "workflow_id": _TEXT,
            "title": or_null(_TEXT),
            "description": or_null(_TEXT),
            "task": {**or_null(_TEXT), "description": "The kind of model, where all jobs ask one component."},
            "streaming": {"type": "boolean", "description": "Whether text of the output can come piece by piece."},
            "history": {"type": "boolean", "description": "Whether a run may bring earlier turns of a conversation."},
            "input": {"type": "array", "items": ref("WorkflowInput")},
            "output": {
                "type": "array",
                "items": an_object({"name": or_null(_TEXT), "type": _TEXT}, ["name", "type"]),
                "description": "One entry for each name, or one without a name for an output that is no map.",
            },
        },
        ["workflow_id", "title", "description", "task", "streaming", "history", "input", "output"],
    ),
    "WorkflowInput": an_object(
        {
            "name": _TEXT,
            "type": _TEXT,
            "required": {"type": "boolean"},
            "default": {},
            "description": or_null(_TEXT),
            "options": {"type": "array", "items": _TEXT},
        },
        ["name", "type", "required", "default", "description"],
    ),
    "Event": {
        **an_object({"event": {"enum": ["message", "done", "error"]}, "data": _TEXT}, ["data"]),
        "description": "One server-sent event of a stream; `event: message` goes without saying.",
    },
    "Health": an_object({"status": {"const": "ok"}}, ["status"]),
    "Readiness": an_object(
        {
            "stage": {"enum": list(get_args(Stage))},
            "progress": {"type": "number", "minimum": 0, "maximum": 1},
            "seconds_left": {"type": "number"},
            "message": _TEXT,
        },
        ["stage"],
    ),
    "Ready": an_object(
        {
            "status": {"enum": ["ready", "starting", "failed"]},
            "components": {"type": "object", "additionalProperties": ref("Readiness")},
        },
        ["status", "components"],
    ),
}


class WorkflowSchemas:
    """The schemas of one workflow, under names of their own in `components.schemas`.

    default: whether it runs when a request names no workflow.
    """

    def __init__(self, workflow: Workflow, name: str, *, default: bool) -> None:
        self._workflow = workflow
        self._default = default
        self.title: str = workflow.schema["title"] or workflow.id
        self.request, self.run, self.output = f"{name}.Request", f"{name}.Run", f"{name}.Output"

    def definitions(self) -> dict[str, Schema]:
        run = {**_RUN, "workflow_id": {"const": self._workflow.id}, "output": ref(self.output)}
        completed = {**an_object(run, ["task_id", "status", "workflow_id"]), "title": self.title}
        return {self.request: self._request(), self.run: completed, self.output: self._output()}

    def _request(self) -> Schema:
        workflow = self._workflow
        inputs = self._inputs()
        properties: dict[str, Schema] = {
            "workflow_id": {"enum": [workflow.id, None]} if self._default else {"const": workflow.id},
            "input": inputs if inputs["required"] else or_null(inputs),
            "wait_for_completion": {
                "type": "boolean",
                "default": True,
                "description": "false answers 202 at once; the run is kept, and read at its own address.",
            },
            "output_only": {
                "type": "boolean",
                "default": False,
                "description": "The bare output instead of the run, as a stream where the file asks for one.",
            },
            "session_id": {
                **or_null(_TEXT),
                "maxLength": LONGEST_SESSION,
                "description": "Expressions read it as `context.session_id`.",
            },
            "metadata": or_null(_METADATA),
            "seed": {
                "description": "For every action that names none; without, equal requests get equal answers.",
                "anyOf": [
                    {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
                    {"const": "random"},
                    _NULL,
                ],
            },
        }
        if len(workflow.chat_jobs) == 1:
            turn = an_object({"role": {"enum": ["user", "assistant"]}, "content": _TEXT}, ["role", "content"])
            properties["history"] = {
                "type": ["array", "null"],
                "items": turn,
                "description": "Earlier turns, oldest first; they go before the last message of the user.",
            }
        required = [] if self._default else ["workflow_id"]
        if inputs["required"]:
            required.append("input")
        described = {"description": workflow.schema["description"]} if workflow.schema["description"] else {}
        return {**an_object(properties, required), "title": self.title, **described}

    def _inputs(self) -> Schema:
        declared = self._workflow.inputs.declared
        return {
            "type": "object",
            "properties": {item.name: _input(item) for item in declared},
            "required": [item.name for item in declared if item.required],
            "description": "An input that nothing reads is named in `warnings`; `-` and `_` are the same.",
        }

    def _output(self) -> Schema:
        return {**_output(self._workflow.shape), "title": f"Output of {self.title}"}


def workflow_schemas(workflows: Iterable[Workflow], default: Workflow | None) -> list[WorkflowSchemas]:
    """One for each workflow; names keep to what OpenAPI allows, and apart."""
    found: dict[str, WorkflowSchemas] = {}
    for workflow in workflows:
        name = re.sub(r"[^A-Za-z0-9_-]", "_", workflow.id)
        while name in found:
            name += "_"
        found[name] = WorkflowSchemas(workflow, name, default=workflow is default)
    return list(found.values())


def _input(item: Input) -> Schema:
    schema = {"type": "string", "enum": list(item.options)} if item.options else _WORDS.get(item.type, _TEXT)
    if item.many:
        schema = {"type": ["string", "array"], "items": _TEXT}
    if not item.required:
        schema = or_null(schema)
    more = {"description": item.description, "default": item.default}
    return {**schema, **{key: value for key, value in more.items() if value is not None}}


def _output(shape: Shape) -> Schema:
    """A text may be a list of texts, for an input that was a list or for several sequences; all may be null."""
    match shape:
        case dict():
            found = {"type": "object", "properties": {name: _output(part) for name, part in shape.items()}}
        case Opaque(type="list", item=item) if item is not None:
            found = {"type": "array", "items": _output(item)}
        case Opaque(type="json", item=item) if item is not None:
            return {"anyOf": [*_output(item)["anyOf"], {"type": "array", "items": _output(item)}]}
        case _:
            known = _WORDS.get(word_of(shape))
            if known is None:
                return {"anyOf": [_TEXT, {"type": "array"}, _NULL]}
            return {"anyOf": [known, _NULL]} if known else known
    return {"anyOf": [found, _NULL]}
