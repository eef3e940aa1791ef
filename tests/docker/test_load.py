"""Containers that are restarted, replaced and ended while clients wait for answers: no accepted run is lost."""

import contextlib
import http.client
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from infra.docker.engine import Engine
from tests.clients import Clients
from tests.conformance.folder import wait_until
from tests.conformance.served import MODEL
from tests.docker.fake_image import remove_volumes
from tests.docker.product import TIMEOUT_S, build
from tests.e2e.project import Project
from tests.net import free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(TIMEOUT_S)]

CLIENTS = 16
ANSWER_S = 300
"""What a run may take: all of them share two cores with whatever else this machine does, one after the other."""
NOT_TAKEN = "not taken"
"""Nobody listened, or nobody behind the published port did: that is told by a connection that ends without a word."""


def text_of(port: int, environment: str) -> str:
    runtime = f"{{type: docker, stop_timeout: 2m, environment: {environment}}}"
    return f"""
controller:
  adapter: {{type: http-server, port: {port}}}
  shutdown_timeout: 2m
  runtime: docker
component: {{id: toy, type: model, task: chat-completion, model: {MODEL}, runtime: {runtime}}}
"""


@pytest.fixture
def project(docker: Engine, base_tar: Path, pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[Project]:
    environment = {
        **os.environ,
        "DOCKER_HOST": docker.address,
        "MODEL_COMPOSE_BASE": str(base_tar),
        "MODEL_COMPOSE_CACHE": str(pytestconfig.cache.mkdir("images")),
    }
    folder = tmp_path / "busy"
    folder.mkdir()
    made = Project(folder, environment, free_port(), free_port())
    made.write(text_of(made.port, "{}"))
    build(folder, environment, "--no-verify")
    yield made
    made.command("down")
    remove_volumes(docker, folder)


class Load(Clients):
    """Of the router at this port."""

    def __init__(self, port: int) -> None:
        super().__init__(CLIENTS)
        self._port = port

    def until_answered(self) -> None:
        """Until one more run is completed."""
        before = self.answers[HTTPStatus.OK]
        wait_until(lambda: self.answers[HTTPStatus.OK] > before, timeout_s=ANSWER_S)

    def ask(self, client: int) -> None:
        number = 0
        while not self.over.is_set():
            number += 1
            answer = self._one(f"Tell me a story. {client} {number}")
            self.answers[answer] += 1
            if answer != HTTPStatus.OK:
                self.over.wait(0.2)

    def _one(self, prompt: str) -> int | str:
        body = json.dumps({"input": {"user_prompt": prompt}})
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)) as connection:
            try:
                connection.request("POST", "/api/workflows/runs", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                response.read()
            except (ConnectionError, http.client.RemoteDisconnected):
                return NOT_TAKEN
            if "X-Request-Id" not in response.headers:  # Docker's proxy asks whoever has the address of what is gone
                return NOT_TAKEN
            assert response.status == HTTPStatus.OK or response.headers["Retry-After"], response.status
            return response.status


@pytest.mark.parametrize(
    ("steps", "least_s"),
    [
        (["replace", "down"], 1),
        pytest.param(
            ["restart toy", "replace", "restart router", "stop toy", "start toy", "restart", "down"],
            8,
            marks=pytest.mark.soak,
        ),
    ],
    ids=["small", "full"],
)
def test_no_accepted_run_is_lost_whatever_ends_its_containers(
    project: Project, steps: list[str], least_s: float
) -> None:
    started = project.command("up", "--detach", timeout_s=300)
    assert started.returncode == 0, started.stderr
    with Load(project.port) as load:
        for step in steps:
            time.sleep(least_s)
            if step != "start toy":
                load.until_answered()
            if step == "replace":
                project.write(text_of(project.port, '{CHANGED: "1"}'))
                done = project.command("up", "--detach", timeout_s=300)
                assert re.search("replace +toy", done.stderr)
                assert re.search("keep +router", done.stderr)
            else:
                done = project.command(*step.split(), timeout_s=300)
            assert done.returncode == 0, done.stderr
    log = project.command("logs", "router").stdout
    ended = Counter(re.findall(r"\brun ended .* status=(\w+(?: code=\w+)?)", log))
    assert set(load.answers) <= {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE, NOT_TAKEN}
    assert ended.pop("completed") == load.answers[HTTPStatus.OK]
    assert set(ended) <= {"failed code=not_ready"}  # answered at once with 503: accepted was none of them
