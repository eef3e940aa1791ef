"""A task process starts, fails, is left, is overloaded and ends as the runtime and the router expect."""

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.services.conftest import Tiny
from tests.services.tasks.serving import TaskProcess, serve, settings_of

pytestmark = pytest.mark.server

TORCH = version("torch")
FOUND = f"torch {TORCH} is built without CUDA" if TORCH.endswith("+cpu") else "CUDA finds no GPU"
NO_CUDA = f"`device: cuda:0` cannot be had: {FOUND}; `device: auto` takes what there is"
PROMPT = "Once upon a time"
LONG: dict[str, Any] = {"prompt": PROMPT, "min_output_length": 250, "stop_sequences": []}


@pytest.fixture(scope="module")
def task(tiny: Tiny) -> Iterator[TaskProcess]:
    with serve(settings_of(tiny("gpt_neo"), max_queue_length=2)) as process:
        process.wait_ready()
        yield process


def test_from_start_to_end(tiny: Tiny) -> None:
    """Alive before it is ready; after SIGTERM the running request still ends well."""
    with serve(settings_of(tiny("gpt2"))) as starting:
        assert starting.get("/livez") == (200, {"status": "alive"})
        assert starting.get("/readyz") == (503, {"stage": "loading"})
        status, error = starting.refused({"prompt": PROMPT})
        assert (status, error["code"], error["retry_after_s"]) == (503, "not_ready", 1)
        starting.wait_ready()
        assert starting.get("/readyz") == (200, {"stage": "ready"})
        with starting.open({"prompt": PROMPT, "min_output_length": 200, "max_output_length": 200}) as answer:
            assert answer.readline()
            starting.process.terminate()
            assert json.loads(answer.readlines()[-1])["usage"]["completion_tokens"] == 200
        assert starting.process.wait() == 0
        assert "Traceback" not in starting.log


def test_bentoml_answers_everything_else(task: TaskProcess) -> None:
    status, schema = task.get("/schema.json")
    assert (status, schema["name"]) == (200, "task-tiny")


def test_a_task_tells_prometheus_what_it_did(task: TaskProcess) -> None:
    task.done({"prompt": PROMPT, "max_output_length": 3, "min_output_length": 3})
    with contextlib.closing(task.connect()) as connection:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        page = answer.read().decode()
    assert (answer.status, answer.getheader("content-type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert float(values['model_compose_task_requests_total{component="tiny",status="completed"}']) >= 1
    assert float(values['model_compose_task_tokens_total{component="tiny",kind="completion"}']) >= 3
    assert values['model_compose_task_queued_requests{component="tiny"}'] == "0.0"


def test_one_line_at_start_and_no_prompts_in_the_log(task: TaskProcess) -> None:
    task.done({"prompt": "a very secret prompt", "max_output_length": 2})
    lines = [line for line in task.log.splitlines() if line.startswith("tiny/gpt_neo on ")]
    assert len(lines) == 1
    assert re.fullmatch(r"tiny/gpt_neo on cpu, float32, 1 threads, loaded in \d+\.\d s, \d+ MB", lines[0])
    assert "secret" not in task.log


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "The body is no task request."),
        ("[]", "The body is no task request."),
        ('{"fields": {}}', "The body is no"),
    ],
)
def test_a_body_that_is_no_request(task: TaskProcess, body: str, message: str) -> None:
    with contextlib.closing(task.connect()) as connection:
        connection.request("POST", "/predict", body)
        answer = connection.getresponse()
        error = json.loads(answer.read())["error"]
    assert (answer.status, error["code"]) == (400, "unreadable_request")
    assert error["message"].startswith(message)


def test_a_client_that_leaves_frees_the_place(task: TaskProcess) -> None:
    """Twenty answers that would take minutes, each left after its first line, do not hold up the one behind them."""
    for _ in range(20):
        with task.open({**LONG, "num_return_sequences": 64}) as answer:
            assert json.loads(answer.readline())["type"] == "delta"
    assert task.done({"prompt": PROMPT, "max_output_length": 1})["usage"]["completion_tokens"] == 1


def test_a_client_that_leaves_without_a_stream_frees_the_place(task: TaskProcess) -> None:
    with task.open({**LONG, "num_return_sequences": 64}, stream=False):
        pass
    assert task.done({"prompt": PROMPT, "max_output_length": 1})["usage"]["completion_tokens"] == 1


def test_too_many_requests_are_refused(task: TaskProcess) -> None:
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(task.open({**LONG, "num_return_sequences": 64}))
        assert running.readline()
        for _ in range(2):
            stack.enter_context(task.open({"prompt": PROMPT, "max_output_length": 1}))
        status, error = task.refused({"prompt": PROMPT})
        assert (status, error["code"]) == (503, "overloaded")
        assert error["message"] == "2 requests already wait for this model."
        assert error["retry_after_s"] >= 1


def spoil(network: Any) -> None:
    network.transformer.ln_f.weight.data.fill_(float("nan"))


def test_numbers_that_are_not_finite_fail_the_request_and_not_the_engine(tmp_path: Path) -> None:
    from tests.models import make_model

    folder = make_model("gpt2", tmp_path / "gpt2", change=spoil)
    with serve(settings_of(folder)) as broken:
        broken.wait_ready()
        for _ in range(2):
            (frame,) = broken.frames({"prompt": PROMPT})
            assert (frame["type"], frame["error"]["status"]) == ("error", 500)
            assert frame["error"]["code"] == "non_finite_output"


def write_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def foreign_type(folder: Path) -> None:
    write_config(folder, model_type="mystery", auto_map={"AutoConfig": "configuration_mystery.MysteryConfig"})
    (folder / "configuration_mystery.py").write_text(f"open({str(folder / 'canary')!r}, 'w')")


def foreign_kernel(folder: Path) -> None:
    write_config(folder, _attn_implementation_internal="someone/kernel")


@pytest.mark.parametrize(
    ("damage", "changes", "code", "message"),
    [
        (without_config, {}, 78, "tiny/gpt2 has no config.json, so it is no model of Hugging Face's"),
        (without_weights, {}, 78, "tiny/gpt2 has no weights in safetensors form"),
        (cut_off, {}, 78, "tiny/gpt2: its safetensors files are damaged"),
        (
            foreign_kernel,
            {},
            78,
            "tiny/gpt2: config.json sets _attn_implementation_internal, which brings in foreign code",
        ),
        (
            foreign_type,
            {},
            78,
            "tiny/gpt2 runs code from its repository, which is never done here; choose a model of a type that"
            " transformers knows",
        ),
        pytest.param(
            lambda folder: None,
            {"device": "cuda:0"},
            69,
            NO_CUDA,
            marks=pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="needs a machine without CUDA"),
        ),
    ],
)
def test_a_model_that_cannot_be_served_says_why_and_ends(
    tiny: Tiny, tmp_path: Path, damage: Callable[[Path], None], changes: dict[str, Any], code: int, message: str
) -> None:
    folder = tmp_path / "gpt2"
    shutil.copytree(tiny("gpt2"), folder)
    damage(folder)
    with serve(settings_of(folder, **changes)) as failing:
        last: dict[str, Any] = {}
        with contextlib.suppress(OSError):
            while last.get("stage") != "failed":
                last = failing.get("/readyz")[1]
        assert failing.process.wait() == code
        assert failing.log.splitlines()[-1] == message
        assert last in ({"stage": "failed", "message": message}, {"stage": "loading"}, {})
    assert not (folder / "canary").exists()


def test_settings_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text("{}")
    argv = [sys.executable, "-m", "services.entry", str(tmp_path / "task.json")]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "task.json is no task's settings: Field required\n")


SERVICE = """
from pathlib import Path
from services.service import make_service
from services.settings import TaskSettings

service = make_service(TaskSettings.model_validate_json(Path(__file__).with_name("task.json").read_text()))
"""


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def stock(tiny: Tiny, tmp_path: Path) -> Iterator[int]:
    """The port of stock `bentoml serve`, once it is ready."""
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "task.json").write_text(settings_of(tiny("gpt2")).model_dump_json())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    argv = [sys.executable, "-m", "bentoml", "serve", "service.py:service", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path / "home")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=tmp_path, stdout=log, stderr=log, env=environment)
    try:
        status = 0
        while status != 200:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
                pytest.fail((tmp_path / "log").read_text())
            with contextlib.suppress(OSError):
                status, _ = ask(port, "GET", "/readyz")
        yield port
    finally:
        process.terminate()
        process.wait()


def test_stock_bentoml_serve_serves_the_same_routes(stock: int) -> None:
    body = {"request_id": "r", "fields": {"prompt": PROMPT, "max_output_length": 4}, "seed": 1, "stream": False}
    status, answer = ask(stock, "POST", "/predict", json.dumps(body))
    assert (status, json.loads(answer)["usage"]["completion_tokens"]) == (200, 4)
