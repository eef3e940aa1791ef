import json
from pathlib import Path

import pytest

from compose.image_settings import page_told, router_told, task_told
from infra.errors import ExitCode, UserError
from services.router.settings import RouterSettings
from services.service import service_name
from services.withheld import read_settings
from tests.compose.loading import load, router
from ui.settings import PageSettings

pytestmark = pytest.mark.unit

SECRETS = {"API_TOKEN": "token-sentinel", "DB_PASSWORD": "password-sentinel", "WEATHER_KEY": "key-sentinel"}
FILE = """
controller:
  port: 9000
  webui: {port: 9001}
  allowed_hosts: [box.local]
  auth: {token: "${env.API_TOKEN}"}
  database: postgresql://me:${env.DB_PASSWORD}@host/db
components:
  - id: chat_ter
    type: model
    task: chat-completion
    model: {repository: acme/chat, token: "${env.HF_TOKEN}"}
    resources: {cpu: 2}
    messages: {role: user, content: "${env.TOPIC} ${env.WEATHER_KEY} ${input.name}"}
"""
ENVIRONMENT = {**SECRETS, "HF_TOKEN": "hf_sentinel", "TOPIC": "moon", "UNUSED_KEY": "unused-sentinel"}


def test_no_secret_stands_in_what_an_image_holds(tmp_path: Path) -> None:
    loaded = load(tmp_path, FILE, **ENVIRONMENT)
    task = task_told(loaded, loaded.spec.models[0], Path("/models/x"))
    for text in (router_told(loaded).settings, page_told(loaded).settings, task.model_dump_json()):
        assert "sentinel" not in text


def test_the_router_gets_its_secrets_from_its_environment(tmp_path: Path) -> None:
    loaded = load(tmp_path, FILE, **ENVIRONMENT)
    told = router_told(loaded)
    assert told.secrets == {
        "API_TOKEN": "token-sentinel",
        "MODEL_COMPOSE_DATABASE_URL": "postgresql://me:password-sentinel@host/db",
        "WEATHER_KEY": "key-sentinel",
    }
    settings = RouterSettings.model_validate(read_settings(told.settings, told.secrets))
    here = router(loaded)
    (component,) = settings.components
    assert component == here.components[0].model_copy(update={"endpoint": f"http://{service_name('chat_ter')}:3000"})
    assert settings.model_copy(update={"components": here.components}) == here.model_copy(
        update={"allowed_hosts": ("box.local", "router"), "stages_path": None}
    )


def test_the_page_asks_the_router_by_its_name(tmp_path: Path) -> None:
    told = page_told(load(tmp_path, FILE, **ENVIRONMENT))
    assert PageSettings.model_validate(read_settings(told.settings, told.secrets)) == PageSettings(
        port=9001, api_url="http://router:8080/api", auth_token="token-sentinel", allowed_hosts=("box.local",)
    )


@pytest.mark.parametrize("written", ["secret-sentinel", "a${env.API_TOKEN}b"])
def test_a_token_that_no_single_variable_holds_gets_one_of_ours(tmp_path: Path, written: str) -> None:
    text = (
        f"controller: {{auth: {{token: '{written}'}}}}\ncomponent: {{type: model, task: chat-completion, model: a/b}}"
    )
    told = router_told(load(tmp_path, text, API_TOKEN="token-sentinel"))
    assert list(told.secrets) == ["MODEL_COMPOSE_AUTH_TOKEN"]
    assert "sentinel" not in told.settings


def test_an_empty_variable_is_no_secret(tmp_path: Path) -> None:
    told = router_told(load(tmp_path, FILE, **{**ENVIRONMENT, "WEATHER_KEY": ""}))
    assert "WEATHER_KEY" not in told.secrets
    assert read_settings(told.settings, told.secrets)["env"]["WEATHER_KEY"] == ""


@pytest.mark.parametrize(
    "database", ["${env.DATABASE_SECRET}", '{driver: postgres, url: "${env.DATABASE_SECRET}"}'], ids=["short", "long"]
)
def test_a_database_is_reached_by_the_variable_that_the_file_names(tmp_path: Path, database: str) -> None:
    text = f"controller: {{database: {database}}}\ncomponent: {{type: model, task: chat-completion, model: a/b}}"
    told = router_told(load(tmp_path, text, DATABASE_SECRET="postgresql://me:password@host/db"))
    assert told.secrets == {"DATABASE_SECRET": "postgresql://me:password@host/db"}


@pytest.mark.parametrize(("written", "path"), [("sqlite", "runs.db"), ("sqlite:../over/there.db", "there.db")])
def test_runs_are_kept_in_the_one_folder_that_outlives_a_container(tmp_path: Path, written: str, path: str) -> None:
    text = f"controller: {{database: '{written}'}}\ncomponent: {{type: model, task: chat-completion, model: a/b}}"
    told = json.loads(router_told(load(tmp_path, text)).settings)
    assert told["database"] == {"driver": "sqlite", "path": f"/var/lib/model-compose/{path}"}


def test_a_secret_in_a_title_is_refused(tmp_path: Path) -> None:
    loaded = load(tmp_path, FILE + "workflow: {title: 'With ${env.API_TOKEN}'}\n", **ENVIRONMENT)
    with pytest.raises(UserError) as caught:
        router_told(loaded)
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (
        "the value of `API_TOKEN` would stand in the image of `router`, where everybody can read it",
        "keep it to templates, `auth.token`, `database` and a model's `token`, which no image holds",
        ExitCode.FILE,
    )
