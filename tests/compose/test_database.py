"""Where the file says that asynchronous runs are kept."""

from pathlib import Path
from typing import Any

import pytest

from compose.commands.config import resolved_yaml
from compose.commands.runs import only_what_is_needed
from compose.loader import InvalidFile
from tests.compose.loading import load, router

pytestmark = pytest.mark.unit

COMPONENT = "component: {type: model, task: text-generation, model: acme/tiny}\n"
URL = "postgresql://runs:hunter22@localhost:5432/runs"


@pytest.mark.parametrize(
    ("controller", "expected"),
    [
        ("{}", {"driver": "sqlite", "path": "/project/.model-compose/runs.db"}),
        ("{database: sqlite}", {"driver": "sqlite", "path": "/project/.model-compose/runs.db"}),
        ("{database: {driver: sqlite}}", {"driver": "sqlite", "path": "/project/.model-compose/runs.db"}),
        ("{database: 'sqlite:data/runs.db'}", {"driver": "sqlite", "path": "HERE/data/runs.db"}),
        ("{database: {driver: sqlite, path: runs.db}}", {"driver": "sqlite", "path": "HERE/runs.db"}),
        ("{database: {path: /var/runs.db}}", {"driver": "sqlite", "path": "/var/runs.db"}),
        (f"{{database: '{URL}'}}", {"driver": "postgres", "url": URL}),
        ("{database: '${env.DATABASE}'}", {"driver": "postgres", "url": URL}),
        ("{database: {driver: postgres, url: '${env.DATABASE}'}}", {"driver": "postgres", "url": URL}),
        ("{database: 'postgres://localhost/runs'}", {"driver": "postgres", "url": "postgres://localhost/runs"}),
    ],
)
def test_the_router_is_told_where_runs_are_kept(tmp_path: Path, controller: str, expected: dict[str, Any]) -> None:
    settings = router(load(tmp_path, f"controller: {controller}\n{COMPONENT}", DATABASE=URL))
    assert settings.database is not None
    assert settings.database.model_dump() == {
        key: value.replace("HERE", str(tmp_path)) for key, value in expected.items()
    }


def test_a_file_without_a_controller_keeps_its_runs_beside_its_state(tmp_path: Path) -> None:
    database = router(load(tmp_path, COMPONENT)).database
    assert database is not None
    assert database.model_dump() == {"driver": "sqlite", "path": "/project/.model-compose/runs.db"}


@pytest.mark.parametrize("database", [URL, f"{{driver: postgres, url: '{URL}'}}", "${env.DATABASE}"])
def test_the_resolved_file_hides_the_url(tmp_path: Path, database: str) -> None:
    text = resolved_yaml(load(tmp_path, f"controller: {{database: {database}}}\n{COMPONENT}", DATABASE=URL))
    assert "database:\n    driver: postgres\n    url: '***'\n" in text
    assert "hunter22" not in text


@pytest.mark.parametrize(
    "controller", [f"{{database: '{URL}', port: x}}", f"{{database: {{url: '{URL}'}}}}", f"{{databse: '{URL}'}}"]
)
def test_no_problem_tells_the_password(tmp_path: Path, controller: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        load(tmp_path, f"controller: {controller}\n{COMPONENT}")
    assert "controller:" in caught.value.message
    assert "hunter22" not in caught.value.message


def test_a_server_for_one_run_shares_no_database(tmp_path: Path) -> None:
    loaded = only_what_is_needed(load(tmp_path, f"controller: {{database: '{URL}'}}\n{COMPONENT}"), None)
    assert loaded.spec.controller.database.driver == "sqlite"
