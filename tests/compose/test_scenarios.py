"""Every scenario loads without a warning, and everything behind the loader takes it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from compose.commands.config import resolved_yaml
from compose.loader import Loaded, load_spec
from compose.schema import shipped_schema
from services.router.compiling import compile_graph
from tests.compose.loading import load, router

pytestmark = pytest.mark.unit

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").glob("*/model-compose.yml"))


@pytest.fixture(params=SCENARIOS, ids=lambda path: path.parent.name)
def path(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


@pytest.fixture
def loaded(path: Path) -> Loaded:
    return load_spec([path], environ={})


def test_a_scenario_loads_without_a_warning_and_says_what_it_is_for(path: Path, loaded: Loaded) -> None:
    assert loaded.warnings == ()
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_the_router_compiles_a_scenario(loaded: Loaded) -> None:
    graph = compile_graph(router(loaded))
    assert list(graph.workflows) == [workflow.id for workflow in loaded.spec.workflows]
    assert [[job.id for job in workflow.jobs] for workflow in graph.workflows.values()] == [
        [job.id for job in workflow.jobs] for workflow in loaded.spec.workflows
    ]


def test_an_editor_accepts_a_scenario(path: Path) -> None:
    schema: Any = json.loads(shipped_schema())
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_the_resolved_file_means_the_same(loaded: Loaded, tmp_path: Path) -> None:
    again = load(tmp_path, resolved_yaml(loaded))
    assert again.spec.workflows == loaded.spec.workflows
    assert again.spec.components == loaded.spec.components
