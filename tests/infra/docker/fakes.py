"""An engine in memory, in which a test lets happen what it wants to see."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.docker.container import Container
from infra.docker.engine import DIGEST_LABEL, KIND_LABEL, SERVICE_LABEL, Engine, Found, State
from infra.docker.errors import EngineError

PROJECT = "demo-1"
CHAT = Container(
    service="chat",
    kind="task",
    image="sha256:1",
    host_name="task-chat",
    port=3000,
    health_path="/readyz",
    networks=("tasks",),
)
OUTAGE = EngineError("the Docker engine cannot be reached", "wait", transient=True)


@dataclass
class Box:
    """A container of the fake engine. printed: its output, in pieces; an error among them is raised once.

    asked: what asking it from within says.
    """

    name: str
    labels: Mapping[str, str]
    running: bool = False
    exit_code: int = 0
    out_of_memory: bool = False
    pid: int = 0
    checked_at: str = ""
    answer: str = ""
    asked: tuple[int, str] = (1, "")
    ports: tuple[int, ...] = ()
    printed: list[bytes | EngineError] = field(default_factory=list)


class FakeEngine(Engine):
    """refusals: by method, what it raises, one call after the other. calls: method and container's name.

    answers: while it is clear, the engine hangs. waiting: threads that have asked it meanwhile.
    """

    def __init__(self, *, address: str = "tcp://engine") -> None:
        super().__init__(None, address)
        self.boxes: dict[str, Box] = {}
        self.refusals: dict[str, list[EngineError]] = {}
        self.calls: list[tuple[str, str]] = []
        self.used_networks: tuple[str, ...] = ()
        self.asked_since: list[float | None] = []
        self.answers = threading.Event()
        self.answers.set()
        self.waiting: list[threading.Thread] = []
        self._made = 0

    def _call(self, method: str, name: str) -> None:
        self.calls.append((method, name))
        if not self.answers.is_set():
            self.waiting.append(threading.current_thread())
            self.answers.wait()
        if self.refusals.get(method):
            raise self.refusals[method].pop(0)

    def add(self, config: Mapping[str, Any], name: str) -> str:
        """A container, however it came there; its id."""
        self._made += 1
        self.boxes[f"id{self._made}"] = Box(name, config["Labels"])
        return f"id{self._made}"

    def containers(self, project: str) -> list[Found]:
        return [
            Found(
                id=id_,
                service=box.labels[SERVICE_LABEL],
                kind=box.labels[KIND_LABEL],
                digest=box.labels[DIGEST_LABEL],
                running=box.running,
                ports=box.ports,
            )
            for id_, box in self.boxes.items()
        ]

    def make_network(self, project: str, name: str, *, internal: bool) -> None:
        self._call("make_network", name)

    def make_volume(self, project: str, name: str) -> None:
        self._call("make_volume", name)

    def remove_networks(self, project: str) -> tuple[str, ...]:
        self._call("remove_networks", project)
        return self.used_networks

    def create(self, service: str, name: str, config: Mapping[str, Any]) -> str:
        if any(box.name == name for box in self.boxes.values()):
            raise AssertionError(f"the name {name} is taken")
        id_ = self.add(config, name)
        self._call("create", name)
        return id_

    def start(self, service: str, container: str) -> None:
        self._call("start", self.boxes[container].name)
        self.boxes[container].running = True

    def stop(self, service: str, container: str) -> None:
        self._call("stop", self.boxes[container].name)
        self.boxes[container].running = False

    def close(self) -> None:
        self._call("close", "")

    def state(self, container: str) -> State | None:
        self._call("state", container)
        box = self.boxes.get(container)
        if box is None:
            return None
        return State(
            running=box.running,
            exit_code=box.exit_code,
            out_of_memory=box.out_of_memory,
            pid=box.pid,
            checked_at=box.checked_at,
            answer=box.answer,
        )

    def output(self, container: str, since: float | None, *, stamped: bool = False) -> Iterator[bytes]:
        self._call("output", container)
        self.asked_since.append(since)
        box = self.boxes[container]
        for piece in list(box.printed):
            if isinstance(piece, EngineError):
                box.printed.remove(piece)
                raise piece
            yield piece

    def run(self, container: str, command: Sequence[str]) -> tuple[int, str]:
        self._call("run", container)
        return self.boxes[container].asked

    def signal(self, container: str, name: str) -> None:
        self._call(name, container)
        if (box := self.boxes.get(container)) is not None:
            box.exit_code = 137
            box.running = False

    def remove(self, container: str) -> None:
        self._call("remove", container)
        self.boxes.pop(container, None)
