import json
from pathlib import Path

import pytest

from compose.image_settings import Told, page_told, router_told, task_told
from compose.loader import Loaded
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
        update={"allowed_hosts": ("box.local", "router"), "stages_path": "/tmp/stages.json"}
    )


@pytest.mark.parametrize(
    ("scaling", "may_sleep"),
    [("", False), ("    scaling: {max: 3}\n", False), ("    scaling: {min: 0, max: 3}\n", True)],
)
def test_the_router_knows_which_tasks_may_sleep(tmp_path: Path, scaling: str, may_sleep: bool) -> None:
    told = router_told(load(tmp_path, FILE + scaling, **ENVIRONMENT))
    assert json.loads(told.settings)["components"][0]["may_sleep"] is may_sleep


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


SHOWN = {
    "title": "workflow: {title: 'With ${env.API_KEY}'}",
    "description": "workflow: {description: '${env.API_KEY}'}",
    "label": "component: {type: model, task: text-classification, model: a/b, labels: [no, 'x-${env.API_KEY}']}",
    "model": "component: {type: model, task: chat-completion, model: '${env.API_KEY}/b'}",
    "chat template": "component: {type: model, task: chat-completion, model: a/b, chat_template: '${env.API_KEY}'}",
    "path": "controller: {adapter: {type: http-server, base_path: '/${env.API_KEY}'}}",
    "database's file": "controller: {database: 'sqlite:${env.API_KEY}.db'}",
    "host": "controller: {allowed_hosts: ['${env.API_KEY}.example.com']}",
    "within a default": "workflow: {title: '${env.NO_KEY | ${env.API_KEY}}'}",
    "with quotes": "workflow: {title: 'say ${env.QUOTED_KEY}'}",
}


@pytest.mark.parametrize("place", SHOWN)
def test_a_secret_that_is_no_template_is_refused(tmp_path: Path, place: str) -> None:
    component = "" if "component:" in SHOWN[place] else CHAT
    loaded = load(tmp_path, f"{SHOWN[place]}\n{component}", API_KEY="abc-sentinel", QUOTED_KEY='"ä"\\\t-sentinel')
    with pytest.raises(UserError, match=r"the value of `(API|QUOTED)_KEY` would stand in the image"):
        told(loaded)


TEMPLATES = {
    "message": "messages: {role: user, content: '${env.API_KEY}'}",
    "part of a message": "messages: {role: user, content: 'With ${env.API_KEY}, ${input.name}'}",
    "default": "messages: {role: user, content: '${input.name | ${env.API_KEY}}'}",
    "default's text": "messages: {role: user, content: '${input.name | \"${env.API_KEY}\"}'}",
    "parameter": "params: {stop_sequences: ['${env.API_KEY}', 'a${env.API_KEY}b']}",
    "number": "params: {seed: '${env.NUMBER_KEY as integer}'}",
    "output": "output: {nested: [{deep: '${env.API_KEY}'}]}",
}


@pytest.mark.parametrize("place", TEMPLATES)
@pytest.mark.parametrize("secret", ["abc-sentinel", "12345678", '"quoted"\n'])
def test_a_template_keeps_the_name_of_a_secret(tmp_path: Path, place: str, secret: str) -> None:
    loaded = load(tmp_path, f"{CHAT}\n  {TEMPLATES[place]}\n", API_KEY=secret, NUMBER_KEY="12345678")
    name = "NUMBER_KEY" if place == "number" else "API_KEY"
    text = router_told(loaded).settings
    assert json.dumps(loaded.env[name], ensure_ascii=False)[1:-1] not in text
    assert f"env.{name}" in text
    assert read_settings(text, router_told(loaded).secrets)["env"] == {name: loaded.env[name]}


@pytest.mark.parametrize("word", ["postgres", "default", "assistant", "chat-completion", "components", "sentinel"])
def test_a_secret_may_be_a_common_word(tmp_path: Path, word: str) -> None:
    """What stands in settings anyway tells nobody that it is a password too."""
    database = "database: 'postgresql://me:${env.DB_PASSWORD}@host/sentinel'"
    message = "messages: {role: assistant, content: '${input.name} ${env.API_KEY}'}"
    text = f"controller: {{auth: {{token: '${{env.API_TOKEN}}'}}, {database}}}\n{CHAT}\n  {message}\n"
    loaded = load(tmp_path, text, DB_PASSWORD=word, API_TOKEN=word, API_KEY=word)
    assert told(loaded).secrets == {
        "API_KEY": word,
        "API_TOKEN": word,
        "MODEL_COMPOSE_DATABASE_URL": f"postgresql://me:{word}@host/sentinel",
    }


def test_a_variable_that_is_not_called_a_secret_may_be_shown(tmp_path: Path) -> None:
    loaded = load(tmp_path, f"workflow: {{title: '${{env.CITY}}'}}\n{CHAT}", CITY="Reykjavik")
    assert "Reykjavik" in told(loaded).settings


CHAT = "component:\n  type: model\n  task: chat-completion\n  model: a/b"


def told(loaded: Loaded) -> Told:
    """The router's, once the task's settings are found to hold no secret."""
    task_told(loaded, loaded.spec.models[0], Path("/models/x"))
    return router_told(loaded)
