"""A project whose model, router and page are the real ones, and its doors as a client sees them."""

import contextlib
import http.client
import json
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.conformance.folder import wait_until
from tests.e2e.project import Project

ZONE = "Asia/Tokyo"
"""Where the machine is."""
TOKEN = "sesame-of-the-router"
MODEL = Path(__file__).parents[2] / "examples" / "quickstart" / "model"
QUESTION = "Tell me about the moon."
ANSWER = "The moon is a ball of rock that goes around the earth. It shines because it reflects the light of the sun."
USAGE = {"prompt_tokens": 9, "completion_tokens": 30, "total_tokens": 39}

FILE = """
controller:
  adapter: {{type: http-server, port: {port}}}
  webui: {{driver: gradio, port: {page_port}}}
  auth: {{token: "${{env.API_TOKEN}}"}}
  max_body_size: 64KB
  shutdown_timeout: 1s
component:
  id: toy
  type: model
  task: chat-completion
  model: ./model
  resources: {{cpu: 1}}
  temperature: 0
  actions:
    - {{id: answer, default: true}}
    - {{id: talk, min_output_length: 16000, max_output_length: 16000}}
workflows:
  - id: ask
    title: Ask the toy
    default: true
    jobs: [{{id: answer, component: toy}}]
    output: {{generated: "${{output}}"}}
  - id: talk
    title: Talk without end
    jobs: [{{id: talk, component: toy, action: talk}}]
  - id: slowly
    title: Ask twice, with a pause
    jobs:
      - {{id: first, component: toy}}
      - {{id: pause, type: delay, duration: 3s, depends_on: [first]}}
      - {{id: second, component: toy, depends_on: [pause]}}
    output: ["${{jobs.first.output}}", "${{jobs.second.output}}"]
  - id: at
    title: Wait for a time of the machine's clock
    jobs: [{{id: wait, type: delay, mode: specific-time, time: "${{input.time}}", output: it is time}}]
"""
"""`talk` lasts longer than any test waits for it, unless it is ended."""


def write(project: Project) -> None:
    """The file, and the toy model with room for a long talk."""
    model = project.folder / "model"
    shutil.copytree(MODEL, model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 16384}), encoding="utf-8")
    project.write(FILE.format(port=project.port, page_port=project.page_port))


class Served:
    """The project while `up` runs it. api: asks the router with its token. stranger: without."""

    def __init__(self, project: Project, stack: contextlib.ExitStack) -> None:
        self.project = project
        address = f"http://127.0.0.1:{project.port}"
        self.api = stack.enter_context(httpx.Client(base_url=address, headers=authorized(), timeout=60))
        self.stranger = stack.enter_context(httpx.Client(base_url=address, timeout=60))
        self.page = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{project.page_port}", timeout=60))

    def post(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> httpx.Response:
        """One run."""
        return self.api.post("/api/workflows/runs", json=dict(body), headers=headers)

    def ask(self, **more: Any) -> httpx.Response:
        """The question, whose answer is known."""
        return self.post({"input": {"user_prompt": QUESTION}, **more})

    @contextlib.contextmanager
    def streaming(self, workflow: str) -> Iterator[tuple[str, Iterator[str]]]:
        """The id of a run, and the lines of its stream while it is open."""
        body = {"workflow_id": workflow, "input": {"user_prompt": QUESTION}}
        headers = {"Accept": "text/event-stream"}
        with self.api.stream("POST", "/api/workflows/runs", json=body, headers=headers) as response:
            assert response.status_code == 200, response.read()
            yield response.headers["X-Task-Id"], response.iter_lines()

    @contextlib.contextmanager
    def talking(self) -> Iterator[str]:
        """The id of a run that somebody waits for without a stream, until the end of the block."""
        before = self.ask().headers["X-Task-Id"]
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.project.port)) as connection:
            body = json.dumps({"workflow_id": "talk", "input": {"user_prompt": QUESTION}})
            headers = {"Content-Type": "application/json", **authorized()}
            connection.request("POST", "/api/workflows/runs", body, headers)
            wait_until(lambda: self.newest() != before)
            self.until_at_work()
            yield self.newest()

    def newest(self) -> str:
        """The id of the last run; empty where there was none."""
        runs = self.api.get("/api/tasks", params={"limit": 1}).json()
        return str(runs[0]["task_id"]) if runs else ""

    def status(self, run: str) -> str:
        return str(self.api.get(f"/api/tasks/{run}").json()["status"])

    def ended(self, run: str) -> str:
        """How a run has ended, once it has."""
        wait_until(lambda: self.status(run) not in ("pending", "processing", "streaming", "cancelling"))
        return self.status(run)

    def until_at_work(self) -> None:
        """Until the router has sent a request to the model, which has just answered another one."""
        active = 'model_compose_active_requests{component="toy"} 1.0\n'
        wait_until(lambda: active in self.api.get("/metrics").text)

    def calls(self, run: str) -> list[str]:
        """How the model's requests of a run have ended, as its log says: `JOB STATUS`."""
        said = self.project.command("logs", "toy").stdout
        lines = [line.partition(f" call={run}/")[2] for line in said.splitlines() if f" call={run}/" in line]
        return [f"{line.split()[0]} {line.partition('status=')[2].split()[0]}" for line in lines]

    def services(self) -> dict[str, dict[str, Any]]:
        """What `ps --json` says of each."""
        listed = json.loads(self.project.command("ps", "--json").stdout)
        return {service["name"]: service for service in listed["services"]}


def authorized() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


def status_of_raw(port: int, head: str) -> int:
    """The status that a server answers to a request without a body, which is sent as it stands."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return int(connection.recv(100).split()[1])
