"""Real router and echo processes on real sockets, for the tests of this folder and the benchmarks."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from services.router.settings import (
    ComponentJobSettings,
    ComponentSettings,
    JobSettings,
    RouterSettings,
    WorkflowSettings,
)

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Making one takes httpx longer than anything else it does here."""
REPOSITORY = Path(__file__).parents[3]
ECHO = REPOSITORY / "tests" / "echo.py"
CHAT_FIELDS = {
    "messages": [
        {"role": "system", "content": "${input.system_prompt}"},
        {"role": "user", "content": "${input.user_prompt}"},
    ]
}


def chat(component: str = "chat", **changes: Any) -> ComponentSettings:
    """A chat component with one action; `changes` are the component's, `action` holds the action's."""
    action = {"id": "__action__", "fields": CHAT_FIELDS, **changes.pop("action", {})}
    values = {"id": component, "task": "chat-completion", "model": "echo", "endpoint": f"unix:/{component}"}
    return ComponentSettings.model_validate({**values, "actions": [action], **changes})


def text(component: str = "text", **changes: Any) -> ComponentSettings:
    """A text-generation component over `${input.prompt}`."""
    fields = {"text": "${input.prompt as text}"}
    return chat(component, **{"task": "text-generation", "action": {"fields": fields}, **changes})


def workflow(name: str = "chat", *jobs: JobSettings | dict[str, Any], **changes: Any) -> WorkflowSettings:
    """A workflow of one implicit job on the component of the same name, unless jobs are given."""
    implicit = ComponentJobSettings(id="__job__", component=name, action="__action__")
    return WorkflowSettings.model_validate({"id": name, "jobs": jobs or (implicit,), **changes})


def job(name: str, component: str, **changes: Any) -> ComponentJobSettings:
    return ComponentJobSettings.model_validate({"id": name, "component": component, "action": "__action__", **changes})


@dataclass
class Service:
    """A running process and where it listens."""

    process: subprocess.Popen[bytes]
    address: str
    """`unix:/path` or `http://host:port`."""
    log: Path

    def counters(self) -> dict[str, int]:
        """An echo task's counters."""
        return self._ask("/counters")

    def requests(self) -> dict[str, int]:
        """How often an echo task was asked with each request id."""
        return self._ask("/requests")

    def last_headers(self) -> dict[str, str]:
        """The headers of the last request to an echo task, names in lower case."""
        return self._ask("/headers")

    def ended(self) -> dict[str, float]:
        """When named work of an echo task ended, on `time.monotonic`."""
        return self._ask("/ended")

    def _ask(self, path: str) -> dict[str, Any]:
        transport = httpx.HTTPTransport(verify=_NO_TLS, uds=self.address.removeprefix("unix:"))
        with httpx.Client(transport=transport, timeout=20) as client:
            return dict(client.get(f"http://localhost{path}").json())

    def stop(self) -> int:
        """SIGTERM, then wait; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def http(method: str, url: str, **options: Any) -> httpx.Response:
    """One request over a new connection."""
    with httpx.Client(verify=_NO_TLS, timeout=30, trust_env=False) as client:
        return client.request(method, url, **options)


def async_http() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=_NO_TLS, timeout=30, trust_env=False)


@contextmanager
def launched(command: list[str], listener: socket.socket, log: Path, environment: dict[str, str]) -> Iterator[Any]:
    arguments = [*command, "--fd", str(listener.fileno()), "--parent", str(os.getpid())]
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextmanager
def echo_task(folder: Path, name: str, **environment: str) -> Iterator[Service]:
    """An echo task on a Unix socket; it is ready when this returns, unless the environment says otherwise."""
    path = folder / f"{name}.sock"
    path.unlink(missing_ok=True)
    settings = folder / f"{name}.json"
    settings.write_text("{}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1024)
        command = [sys.executable, "-P", str(ECHO), str(settings)]
        with launched(command, listener, folder / f"{name}.log", environment) as process:
            listener.close()
            service = Service(process, f"unix:{path}", folder / f"{name}.log")
            service.counters()
            yield service


@contextmanager
def router(folder: Path, settings: RouterSettings, **environment: str) -> Iterator[Service]:
    """A router process that answers; endpoints of the settings are used as they are."""
    path = folder / "router.json"
    path.write_text(settings.model_dump_json())
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-P", "-m", "services.router.app", str(path)]
        with launched(command, listener, folder / "router.log", environment) as process:
            listener.close()
            service = Service(process, f"http://127.0.0.1:{port}", folder / "router.log")
            http("GET", f"{service.address}/livez").raise_for_status()
            yield service


@dataclass
class Stack:
    """A router and its echo tasks by component id."""

    router: Service
    tasks: dict[str, Service]
    base: str

    def post(self, body: Any, **options: Any) -> httpx.Response:
        """`POST /workflows/runs`."""
        return http("POST", f"{self.base}/workflows/runs", json=body, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return http("GET", f"{self.base}{path}", **options)


@contextmanager
def stack(
    folder: Path,
    components: list[ComponentSettings],
    workflows: list[WorkflowSettings],
    **changes: Any,
) -> Iterator[Stack]:
    """A router over echo tasks, one for each component."""
    with ExitStack() as opened:
        tasks = {item.id: opened.enter_context(echo_task(folder, item.id)) for item in components}
        placed = [item.model_copy(update={"endpoint": tasks[item.id].address}) for item in components]
        settings = RouterSettings.model_validate({"components": placed, "workflows": workflows, **changes})
        service = opened.enter_context(router(folder, settings))
        yield Stack(service, tasks, service.address + settings.base_path)


def eventually(condition: Any, timeout_s: float = 5) -> Any:
    """Wait until the condition holds; its last value."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)
    return value


def connect(stack: Stack) -> socket.socket:
    """A plain socket to the router."""
    address = urlsplit(stack.router.address)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def begin_run(stack: Stack, *headers: str, body: str = "") -> socket.socket:
    """A plain socket on which a run's head has been sent, and `body` behind it."""
    connection = connect(stack)
    lines = [
        "POST /api/workflows/runs HTTP/1.1",
        f"Host: {urlsplit(stack.router.address).netloc}",
        "Content-Type: application/json",
        *headers,
    ]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
    return connection
