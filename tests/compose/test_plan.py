import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compose.plan import ModelState, make_plan
from infra.unit import TcpAddress, Unit, UnixAddress
from tests.compose.loading import calls, load, models, observe, plan, router

pytestmark = pytest.mark.unit

MODEL = "type: model, task: chat-completion, model: acme/tiny"
TWO = """
controller:
  name: Two Models
  port: 9000
  webui: {port: 9001}
  max_concurrent_count: 4
  max_queue_length: 9
  max_body_size: 1MB
  run_timeout: 2m
  retention: 1h
  shutdown_timeout: 10
  allowed_hosts: [box.local]
  auth: {token: "${env.API_TOKEN}"}
  runtime: {start_timeout: 5m, environment: {OMP_NUM_THREADS: 1, SHARED: yes}}
components:
  - id: chatter
    type: model
    task: chat-completion
    model: {repository: acme/chat, revision: v1, token: "${env.HF_TOKEN}"}
    device: cuda:0
    resources: {cpu: 1500m, memory: 16Gi, gpu: "H100:1"}
    precision: bfloat16
    max_concurrent_count: 8
    default: true
    runtime: {stop_timeout: 3s, environment: {SHARED: mine}}
    messages: {role: user, content: "${env.GREETING | Hello} ${input.name}"}
  - id: writer
    type: model
    task: text-generation
    model: ./writer
    prompt: ${input.prompt}
    streaming: ${env.STREAMING as boolean | true}
workflows:
  - {id: chat, title: Chat, default: true}
  - {id: write, title: Write, component: writer, private: true}
"""
ENVIRONMENT = {"API_TOKEN": "very-secret", "HF_TOKEN": "hf_very_secret", "UNUSED": "1", "GREETING": "Hi"}


def units(folder: Path, text: str, **environ: str) -> dict[str, Unit]:
    return {unit.name: unit for unit in plan(load(folder, text, **environ)).units}


def settings(unit: Unit) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(unit.settings)
    return parsed


def test_a_plan_prints_each_step_with_its_cause(tmp_path: Path) -> None:
    loaded = load(tmp_path, TWO, **ENVIRONMENT)
    fetched = ModelState(
        Path("/cache/chat"), ("builders.weights", "fetch"), {"HF_TOKEN": "x"}, 6_150_000_000, "0123456789abcdef"
    )
    assert str(make_plan(loaded, observe(loaded, chatter=fetched))) == (
        "fetch  chatter  acme/chat at 0123456789ab, 6.2 GB           (not whole on this machine)\n"
        "start  chatter  acme/chat at 0123456789ab, chat-completion  (for workflow chat)\n"
        "start  writer   ./writer, text-generation                   (for workflow write)\n"
        "start  router   http://127.0.0.1:9000/api                   (runs 2 workflows)\n"
        "start  page     http://127.0.0.1:9001                       (controller.webui)"
    )


def test_a_model_that_is_here_but_pickled_is_converted(tmp_path: Path) -> None:
    loaded = load(tmp_path, f"workflow: {{title: Ask}}\ncomponent: {{{MODEL}}}")
    pickled = ModelState(Path("/cache"), ("builders.weights", "fetch"), {}, 0)
    assert str(make_plan(loaded, observe(loaded, **{"chat-completion": pickled}))).splitlines()[:2] == [
        "convert  chat-completion  acme/tiny to safetensors   (its weights are pickled)",
        "start    chat-completion  acme/tiny                  (for the workflow 'Ask')",
    ]


def test_a_component_that_no_workflow_uses_is_said_to_be_idle(tmp_path: Path) -> None:
    text = "workflow: {component: a}\ncomponents:\n" + "".join(f"  - {{id: {name}, {MODEL}}}\n" for name in "ab")
    lines = str(plan(load(tmp_path, text))).splitlines()
    assert lines[0] == "start  a       acme/tiny, chat-completion  (for the workflow)"
    assert lines[1] == "start  b       acme/tiny, chat-completion  (no workflow uses it)"


def test_a_component_alone_gets_a_router_and_a_page(tmp_path: Path) -> None:
    assert str(plan(load(tmp_path, f"component: {{{MODEL}}}"))) == (
        "start  chat-completion  acme/tiny                  (for the workflow)\n"
        "start  router           http://127.0.0.1:8080/api  (runs 1 workflow)\n"
        "start  page             http://127.0.0.1:8081      (the file has no controller)"
    )


@pytest.mark.parametrize(
    ("controller", "has_page"),
    [("", True), ("controller:", False), ("controller: {port: 9000}", False), ("controller: {webui: }", True)],
)
def test_the_page_is_there_when_asked_for_or_when_nothing_is_said(
    tmp_path: Path, controller: str, has_page: bool
) -> None:
    planned = plan(load(tmp_path, f"{controller}\ncomponent: {{{MODEL}}}"))
    assert ("page" in [unit.name for unit in planned.units]) is has_page
    assert planned.page_url == ("http://127.0.0.1:8081" if has_page else None)


def test_a_task_is_told_all_it_needs_and_no_secret(tmp_path: Path) -> None:
    unit = units(tmp_path, TWO, **ENVIRONMENT)["chatter"]
    assert settings(unit) == {
        "id": "chatter",
        "task": "chat-completion",
        "model": "acme/chat",
        "model_path": "/models/here",
        "device": "cuda:0",
        "precision": "bfloat16",
        "quantization": None,
        "chat_template": None,
        "fast_tokenizer": True,
        "labels": None,
        "max_concurrent_count": 8,
        "max_queue_length": 64,
        "threads": 2,
        "resources": {"cpu": "1500m", "memory": "16Gi", "gpu": 1},
        "start_record": "/project/.model-compose/starts/chatter.json",
    }
    assert unit.environment == {
        "OMP_NUM_THREADS": "1",
        "SHARED": "mine",
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_TOKEN": "",
        "HUGGING_FACE_HUB_TOKEN": "",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    }
    assert replace(unit, settings="", environment={}) == Unit(
        name="chatter",
        kind="task",
        module="services.entry",
        settings="",
        address=UnixAddress("/sockets/chatter.sock"),
        ready_path="/readyz",
        start_timeout_s=300,
        stop_timeout_s=3,
    )


def test_a_download_has_its_own_environment(tmp_path: Path) -> None:
    loaded = load(tmp_path, f"component: {{{MODEL}}}")
    state = ModelState(Path("/cache"), ("builders.weights", "fetch", "acme/tiny"), {"HF_TOKEN": "hf_secret"})
    planned = make_plan(loaded, observe(loaded, **{"chat-completion": state}))
    unit = planned.units[0]
    assert unit.prepare == ("builders.weights", "fetch", "acme/tiny")
    assert unit.prepare_environment["HF_TOKEN"] == "hf_secret"
    assert "HF_HUB_OFFLINE" not in unit.prepare_environment
    assert "hf_secret" not in str(unit.environment) + unit.settings


def test_the_router_is_told_what_the_file_says(tmp_path: Path) -> None:
    told = router(load(tmp_path, TWO, **ENVIRONMENT))
    assert told.model_dump(exclude={"components", "workflows"}) == {
        "name": "Two Models",
        "host": "127.0.0.1",
        "port": 9000,
        "base_path": "/api",
        "origins": (),
        "allowed_hosts": ("box.local",),
        "auth_token": "very-secret",
        "max_concurrent_count": 4,
        "max_queue_length": 9,
        "max_body_bytes": 1_000_000,
        "run_timeout_s": 120,
        "retention_s": 3600,
        "shutdown_timeout_s": 10,
        "in_cluster": False,
        "database": {"driver": "sqlite", "path": "/project/.model-compose/runs.db"},
        "env": {"GREETING": "Hi"},
        "stages_path": "/project/.model-compose/stages.json",
    }
    chatter, writer = models(load(tmp_path, TWO, **ENVIRONMENT))
    assert (chatter.endpoint, chatter.default, chatter.max_concurrent_count) == ("unix:/sockets/chatter.sock", True, 8)
    assert chatter.actions[0].fields == {
        "messages": [{"role": "user", "content": "${env.GREETING | Hello} ${input.name}"}]
    }
    assert (writer.default, writer.actions[0].default, writer.actions[0].streaming) == (False, True, True)
    assert [(item.id, item.title, item.default, item.private) for item in told.workflows] == [
        ("chat", "Chat", True, False),
        ("write", "Write", False, True),
    ]
    assert [calls(item)[0].component for item in told.workflows] == ["chatter", "writer"]


def test_the_router_has_time_to_drain_and_the_page_knows_the_router(tmp_path: Path) -> None:
    found = units(tmp_path, TWO, **ENVIRONMENT)
    assert (found["router"].address, found["router"].ready_path) == (TcpAddress("127.0.0.1", 9000), "/livez")
    assert found["router"].stop_timeout_s == 15
    assert settings(found["page"]) == {
        "host": "127.0.0.1",
        "port": 9001,
        "title": "Two Models",
        "api_url": "http://127.0.0.1:9000/api",
        "auth_token": "very-secret",
        "allowed_hosts": ["box.local"],
    }


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:8080"), ("::", "http://127.0.0.1:8080"), ("::1", "http://[::1]:8080")],
)
def test_an_address_that_can_be_called_is_named(tmp_path: Path, host: str, url: str) -> None:
    text = f"controller: {{host: '{host}', base_path: /, auth: {{insecure: true}}}}\ncomponent: {{{MODEL}}}"
    assert plan(load(tmp_path, text)).api_url == url


def test_services_depend_on_those_before_them(tmp_path: Path) -> None:
    assert list(units(tmp_path, TWO, **ENVIRONMENT)) == ["chatter", "writer", "router", "page"]
