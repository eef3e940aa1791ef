"""Starts `python -m services.entry` as the runtime does, and speaks to it over its Unix socket."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from services.settings import TaskSettings
from services.tasks.encoder_task import EncoderTask, Prepared


class TaskProcess:
    """One task process and its socket."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
        self.process = process
        self.path = path
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("task")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.path))
        return connection

    def get(self, path: str) -> tuple[int, Any]:
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    @contextlib.contextmanager
    def open(self, fields: dict[str, Any], *, seed: int = 1, stream: bool = True) -> Iterator[http.client.HTTPResponse]:
        """The answer to `/predict`, unread; leaving the block leaves the request."""
        body = {"request_id": "test", "fields": fields, "seed": seed, "stream": stream}
        with contextlib.closing(self.connect()) as connection:
            connection.request("POST", "/predict", json.dumps(body))
            with connection.getresponse() as answer:
                yield answer

    def frames(self, fields: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Every line of the answer."""
        with self.open(fields, **options) as answer:
            assert answer.status == 200, answer.read()
            return [json.loads(line) for line in answer]

    def done(self, fields: dict[str, Any], **options: Any) -> dict[str, Any]:
        """The last line, which must be `done`."""
        last = self.frames(fields, **options)[-1]
        assert last["type"] == "done", last
        return last

    def refused(self, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and error of a request that is not admitted."""
        with self.open(fields) as answer:
            return answer.status, json.loads(answer.read())["error"]

    def wait_ready(self) -> None:
        while self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.get("/readyz")[0] == 200:
                    return
            self._rest()
        raise AssertionError(self.log)

    def _rest(self) -> None:
        """Between two questions; returns at once when the process ends."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.05)


def settings_of(path: Path, task: str = "text-generation", **changes: Any) -> TaskSettings:
    """Settings as the plan would write them, for one torch thread in float32."""
    values = {"id": "tiny", "task": task, "model": f"tiny/{path.name}", "model_path": path, "threads": 1}
    return TaskSettings(**{"precision": "float32", "device": "cpu", **values, **changes})


def prepare(task: EncoderTask, fields: dict[str, Any]) -> Prepared:
    """What a task makes of fields, all at once."""
    steps = task.prepare(fields)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            prepared: Prepared = end.value
            return prepared


Kind = TypeVar("Kind", bound=str)


@contextlib.contextmanager
def serve_each(folder: Callable[[Kind], Path]) -> Iterator[Callable[[Kind, str], TaskProcess]]:
    """Makes a ready process of a model's kind and a task; the same one for everybody who asks for it."""
    with contextlib.ExitStack() as stack:

        @cache
        def start(kind: Kind, task: str) -> TaskProcess:
            process = stack.enter_context(serve(settings_of(folder(kind), task)))
            process.wait_ready()
            return process

        yield start


@contextlib.contextmanager
def serve(settings: TaskSettings) -> Iterator[TaskProcess]:
    """A running task process that may not be ready yet; SIGTERM at the end."""
    folder = Path(tempfile.mkdtemp(prefix="mc-"))
    settings_path, path, log = folder / "task.json", folder / "task.sock", folder / "log"
    settings_path.write_text(settings.model_dump_json(), encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as listening, log.open("wb") as output:
        listening.bind(str(path))
        listening.listen()
        options = ["--fd", str(listening.fileno()), "--parent", str(os.getpid())]
        process = subprocess.Popen(
            [sys.executable, "-m", "services.entry", str(settings_path), *options],
            pass_fds=[listening.fileno()],
            stderr=output,
            stdout=output,
        )
    try:
        yield TaskProcess(process, path, log)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)
