"""A file that somebody has changed in any way is refused with problems, or router and editor take it too."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose.loader import InvalidFile, load_spec
from compose.schema import shipped_schema
from services.router.compiling import compile_graph
from tests.compose.loading import router
from tests.compose.test_scenarios import SCENARIOS

pytestmark = pytest.mark.unit

EDITOR: Any = jsonschema.Draft202012Validator(json.loads(shipped_schema()))
FILES: list[Any] = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in SCENARIOS]
ODD: list[Any] = [None, "", "a", 0, -1, 1.5, True, [], {}, ["a"], {"a": "b"}, [[]], "${", "${item}", "${jobs.a.output}"]
WORDS = [
    *("id", "type", "if", "delay", "loop", "for-each", "workflow", "component", "do", "where", "not", "input"),
    *("output", "action", "routings", "cases", "then", "if_true", "all", "until", "duration", "name", "timeout"),
    *("depends_on", "on_error", "retry", "value", "operator", "to", "conditions", "jobs", "actions", "default"),
]


@st.composite
def broken_files(draw: st.DrawFn) -> Any:
    """One of the scenarios with up to three changes to its keys and values."""
    data = copy.deepcopy(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 3))):
        _change(draw, data)
    return data


def _change(draw: st.DrawFn, data: Any) -> None:
    """Drop, rename, copy or replace something in one of the maps and lists."""
    block = draw(st.sampled_from(list(_blocks(data))))
    keys = list(block) if isinstance(block, dict) else list(range(len(block)))
    if not keys:
        return
    key = draw(st.sampled_from(keys))
    match draw(st.sampled_from(["drop", "rename", "copy", "replace", "swap"])):
        case "drop":
            del block[key]
        case "rename" if isinstance(block, dict):
            block[draw(st.sampled_from(WORDS))] = block.pop(key)
        case "copy" if isinstance(block, list):
            block.append(copy.deepcopy(block[key]))
        case "swap":
            other = draw(st.sampled_from(keys))
            block[key], block[other] = block[other], block[key]
        case _:
            block[key] = copy.deepcopy(draw(st.sampled_from([*ODD, *WORDS])))


def _blocks(value: Any) -> Any:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _blocks(item)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=broken_files())
def test_a_file_is_refused_or_taken_by_all_who_read_it(tmp_path: Path, data: Any) -> None:
    file = tmp_path / "model-compose.yml"
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    try:
        loaded = load_spec([file], environ={})
    except InvalidFile:
        return
    compile_graph(router(loaded))
    EDITOR.validate(data)
