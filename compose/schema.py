"""The JSON schema of the file, for editors: generated from the spec and the catalog, widened by the older spellings.

`python -m compose.schema` writes schema.json, `python -m compose.schema --check` fails when it is stale.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from compose.blocks import VARIANTS
from compose.dialect import OLDER_KEYS
from compose.kinds import MODELS
from compose.spec import ComposeSpec
from services.catalog import ROLES, TASKS, Field

SHIPPED: Final = Path(__file__).with_name("schema.json")

_JOBS: Final = tuple(model.__name__ for kind, model in MODELS.items() if kind in VARIANTS["job"].values())

Json = dict[str, Any]

_EXPRESSION: Final[Json] = {"type": "string", "pattern": r"\$\{"}
_NUMERAL: Final[Json] = {"type": "string", "pattern": r"\$\{|^[-+]?[0-9]"}


def shipped_schema() -> str:
    """The schema as it comes with the package."""
    return SHIPPED.read_text(encoding="utf-8")


def render_schema() -> str:
    """The schema as JSON text; equal to the shipped one when that is fresh."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n"


def build_schema() -> Json:
    """What an editor accepts: every spelling that loads; the loader finds more mistakes than this can say."""
    schema = _bare(ComposeSpec.model_json_schema())
    blocks: Json = schema.pop("$defs")
    controller, component, action = blocks["ControllerSpec"], blocks["ModelComponentSpec"], blocks["ActionSpec"]
    adapter, workflow = blocks["AdapterSpec"], blocks["WorkflowSpec"]

    blocks |= {f"fields.{name}": _field(meanings) for name, meanings in _fields().items()}
    fields = {name: _ref(f"fields.{name}") for name in _fields()}
    params = {"type": "object", "additionalProperties": False, "properties": fields}
    action["properties"] |= {**fields, "params": params}
    action["additionalProperties"] = False
    component["properties"] |= {**fields, "params": params, "output": {}}
    controller["properties"] |= {
        key: adapter["properties"][key] for key in sorted(OLDER_KEYS["controller"] - {"adapter"})
    }
    scaling = blocks["ScalingSpec"]
    scaling["properties"] |= {f"{name}_replicas": scaling["properties"][name] for name in ("min", "max")}
    scaling.pop("required")
    _workflow_component(blocks["WorkflowComponentSpec"], blocks["WorkflowActionSpec"])
    _jobs(blocks)
    inline = sorted(OLDER_KEYS["workflow"] - {"job"})
    workflow["properties"] |= {key: blocks["ComponentJobSpec"]["properties"][key] for key in inline}

    blocks["AnyComponent"] = {"anyOf": [_ref("ModelComponentSpec"), _ref("WorkflowComponentSpec")]}
    blocks["AnyJob"] = {"anyOf": [_ref(name) for name in _JOBS]}
    _one_or_many(schema, "component", "AnyComponent")
    _one_or_many(schema, "workflow", "WorkflowSpec")
    _one_or_many(controller, "adapter", "AdapterSpec")
    _one_or_many(component, "action", "ActionSpec")
    _one_or_many(workflow, "job", "AnyJob")
    component["properties"]["task"] = {"anyOf": [{"enum": list(TASKS)}, _EXPRESSION]}
    component["properties"]["model"] = {"anyOf": [{"type": "string"}, _ref("ModelSpec")]}
    controller["properties"]["database"] = {"anyOf": [{"type": "string"}, _ref("DatabaseSpec")]}
    for block in (controller, component):
        block["properties"]["runtime"] = {"anyOf": [{"type": "string"}, _ref("RuntimeSpec")]}
    schema.pop("required")
    schema["anyOf"] = [{"required": ["component"]}, {"required": ["components"]}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "model-compose.yml",
        **schema,
        "$defs": blocks,
    }


def _workflow_component(component: Json, action: Json) -> None:
    """Its only action may be written on it, and what several share."""
    shared = {key: action["properties"][key] for key in ("workflow", "input", "output")}
    component["properties"] |= shared
    action.pop("required")
    _one_or_many(component, "action", "WorkflowActionSpec")


def _jobs(blocks: Json) -> None:
    for name in _JOBS:
        properties = blocks[name]["properties"]
        properties["retry"] = {"anyOf": [_ref("RetrySpec"), {"type": "integer"}, _NUMERAL]}
        properties["on_error"] = {"anyOf": [_ref("OnErrorSpec"), {"type": "string"}]}
    of = {name: blocks[name]["properties"] for name in _JOBS}
    of["ComponentJobSpec"]["type"]["anyOf"].append({"const": "action"})
    blocks["DoSpec"]["properties"]["type"] = {"enum": ["component", "action"]}
    for kind, way, key, inline in (
        ("IfJobSpec", "BranchSpec", "conditions", OLDER_KEYS["if job"]),
        ("SwitchJobSpec", "CaseSpec", "cases", OLDER_KEYS["switch job"]),
        ("RandomRouterJobSpec", "RoutingSpec", "routings", frozenset[str]()),
    ):
        of[kind] |= {name: blocks[way]["properties"][name] for name in sorted(inline)}
        of[kind][key] = {"anyOf": [_ref(way), {"type": "array", "items": _ref(way)}]}
    of["RandomRouterJobSpec"]["routes"] = of["RandomRouterJobSpec"]["routings"]
    routing = blocks["RoutingSpec"]
    routing["properties"] |= dict.fromkeys(sorted(OLDER_KEYS["routing"]), routing["properties"]["to"])
    routing.pop("required")


def _bare(value: Any) -> Any:
    """Without pydantic's titles, the programmers' docstrings, and defaults that repeat whole blocks.

    A closed set takes an expression too.
    """
    match value:
        case dict():
            dropped = {"title"} if isinstance(value.get("title"), str) else set()
            if value.get("type") == "object" or "$ref" in value:
                dropped.add("description")
            if value.get("default", ()) is None or isinstance(value.get("default"), dict | list):
                dropped.add("default")
            choices = {key: value[key] for key in ("const", "enum") if key in value}
            if choices:
                dropped |= {"const", "enum", "type"}
            bare = {key: _bare(item) for key, item in value.items() if key not in dropped and key != "properties"}
            if "properties" in value:
                bare["properties"] = {name: _bare(item) for name, item in value["properties"].items()}
            return {"anyOf": [choices, _EXPRESSION], **bare} if choices else bare
        case list():
            return [_bare(item) for item in value]
    return value


def _fields() -> dict[str, list[Field]]:
    """What actions may say, over all tasks; a name may mean one thing to one task and another to the next."""
    found: dict[str, list[Field]] = {}
    for task in TASKS.values():
        for name, field in (*task.fields.items(), *task.parameters.items()):
            found[name] = [*found.get(name, []), field]
    return dict(sorted(found.items()))


def _field(meanings: list[Field]) -> Json:
    descriptions = dict.fromkeys(field.description for field in meanings)
    values = [value for field in meanings for value in _values(field)]
    unique = [value for index, value in enumerate(values) if value not in values[:index]]
    return {"description": "; or ".join(descriptions), "anyOf": unique}


def _values(field: Field) -> list[Json]:
    bounds: Json = {}
    if field.minimum is not None:
        bounds["exclusiveMinimum" if field.above else "minimum"] = field.minimum
    if field.maximum is not None:
        bounds["maximum"] = field.maximum
    scalar: Json = {"type": ["string", "number", "boolean"]}
    role: Json = {"anyOf": [{"enum": list(ROLES)}, _EXPRESSION]}
    message: Json = {
        "type": "object",
        "additionalProperties": False,
        "required": ["role"],
        "properties": {"role": role, "content": {"type": ["string", "number", "boolean", "null"]}},
    }
    choices: dict[str, list[Json]] = {
        "text": [scalar],
        "text-or-list": [scalar, {"type": "array", "items": scalar}],
        "text-list": [scalar, {"type": "array", "items": scalar}],
        "documents": [{"type": "array", "items": {"anyOf": [scalar, {"type": "object"}]}}, _EXPRESSION],
        "choice": [{"enum": list(field.choices)}, _EXPRESSION],
        "messages": [{"type": "array", "items": {"anyOf": [message, _EXPRESSION]}}, message, _EXPRESSION],
        "integer": [{"type": "integer", **bounds}, _NUMERAL],
        "number": [{"type": "number", **bounds}, _NUMERAL],
        "boolean": [{"type": "boolean"}, _EXPRESSION],
        "early-stopping": [{"type": "boolean"}, {"const": "never"}, _EXPRESSION],
        "seed": [{"type": "integer", **bounds}, {"const": "random"}, _NUMERAL],
    }
    return choices[field.kind]


def _one_or_many(block: Json, kind: str, name: str) -> None:
    """`kind` and its plural both take one block or a list of them; nothing written is an empty block."""
    for key in (kind, f"{kind}s"):
        one = [_ref(name), {"type": "null"}]
        block["properties"][key] = {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}]}


def _ref(name: str) -> Json:
    return {"$ref": f"#/$defs/{name}"}


def main(arguments: list[str]) -> int:
    """Write the shipped schema, or with `--check` compare it; 1 when it is stale."""
    if arguments == ["--check"]:
        if SHIPPED.is_file() and shipped_schema() == render_schema():
            return 0
        sys.stderr.write("compose/schema.json is stale: run `python -m compose.schema`\n")
        return 1
    SHIPPED.write_text(render_schema(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
