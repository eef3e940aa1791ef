"""Stock `bentoml serve` serves the Bento of a task from nothing but the Bento and the weights."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.bento import BentoInputs, make_bento
from builders.code import code_for
from services.settings import TaskSettings
from tests.models import make_model
from tests.net import free_port

pytestmark = pytest.mark.server


@pytest.fixture
def served(tmp_path: Path) -> Iterator[int]:
    """The port of the Bento, once it is ready."""
    model = make_model("gpt2", tmp_path / "model")
    settings = TaskSettings(id="writer", task="text-generation", model="tiny/gpt2", model_path=model)
    make_bento(BentoInputs(settings, code_for("task"), (), "3.11"), tmp_path / "bento")
    port = free_port()
    argv = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        str(tmp_path / "bento"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    (tmp_path / "empty").mkdir()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            argv,
            cwd=tmp_path / "empty",
            stdout=log,
            stderr=log,
            env={**os.environ, "BENTOML_HOME": str(tmp_path / "home")},
        )
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


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_a_request_is_answered(served: int) -> None:
    fields = {"prompt": "Once upon a time", "max_output_length": 4}
    status, answer = ask(
        served, "POST", "/predict", json.dumps({"request_id": "r", "fields": fields, "seed": 1, "stream": False})
    )
    assert (status, json.loads(answer)["usage"]["completion_tokens"]) == (200, 4)
    _, schema = ask(served, "GET", "/schema.json")
    assert json.loads(schema)["name"] == "task-writer"
