"""No accepted run is lost, stuck or repeated needlessly, whatever is submitted, cancelled and killed when."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from services.router.settings import RouterSettings
from tests.services.router.rig import Service, echo_task, eventually, job, router, text, workflow

ATTEMPTS = 3
JOBS = {"one": ["__job__"], "chain": ["a", "b", "c"], "many": ["j[0]", "j[1]", "j[2]"]}
WORKFLOWS = [
    workflow("one"),
    workflow("chain", job("a", "text"), job("b", "text", depends_on=[["a"]]), job("c", "text", depends_on=[["b"]])),
    workflow("many", job("j", "text", repeat_count=3)),
]
ANSWER = "w0 w1"


@dataclass
class Submitted:
    """What was accepted. kills: how many routers were killed since then and before its end was seen."""

    workflow: str
    key: str | None
    cancelled: bool = False
    kills: int = 0
    end: dict[str, object] | None = None


@dataclass
class World:
    """One task and one database over many routers, and all that was promised."""

    folder: Path
    task: Service
    runs: dict[str, Submitted] = field(default_factory=dict)
    kills: int = 0
    examples: int = 0
    service: Service | None = None
    life: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        given = RouterSettings.model_validate(
            {
                "components": [text("text", endpoint=self.task.address), text("one", endpoint=self.task.address)],
                "workflows": WORKFLOWS,
                "max_concurrent_count": 6,
                "database": {"driver": "sqlite", "path": str(self.folder / "runs.db")},
            }
        )
        self.service = self.life.enter_context(router(self.folder, given))

    def kill(self) -> None:
        assert self.service is not None
        self.service.process.kill()
        self.life.close()
        self.service = None
        self.kills += 1
        for run in self.runs.values():
            run.kills += run.end is None

    def request(self, method: str, path: str, **options: object) -> httpx.Response:
        assert self.service is not None
        with httpx.Client(base_url=f"{self.service.address}/api", timeout=30, trust_env=False) as client:
            return client.request(method, path, **options)  # type: ignore[arg-type]  # handed on

    def submit(self, name: str, ms: int, key: str | None) -> None:
        body = {
            "workflow_id": name,
            "input": {"prompt": json.dumps({"tokens": 2, "ms": ms})},
            "wait_for_completion": False,
        }
        answer = self.request(
            "POST", "/workflows/runs", json=body, headers={} if key is None else {"Idempotency-Key": key}
        )
        assert answer.status_code == 202, answer.text
        task_id = answer.json()["task_id"]
        earlier = [known for known, run in self.runs.items() if key is not None and run.key == key]
        assert earlier in ([], [task_id]), "a key led to another run"
        self.runs.setdefault(task_id, Submitted(name, key))

    def look(self, task_id: str) -> bool:
        """Whether the run has ended; an end, once told, never changes."""
        answer = self.request("GET", f"/tasks/{task_id}")
        assert answer.status_code == 200, f"{task_id} was lost: {answer.text}"
        found, run = answer.json(), self.runs[task_id]
        assert (found["task_id"], found["workflow_id"]) == (task_id, run.workflow)
        ended = found["status"] in ("completed", "failed", "cancelled")
        if run.end is not None:
            assert found == run.end
        elif ended:
            run.end = found
        return ended

    def settle(self) -> None:
        """Wait until all have ended, and compare with what was promised."""
        for task_id in [task_id for task_id, run in self.runs.items() if run.end is None]:
            eventually(lambda task_id=task_id: self.look(task_id), 60)
        times = self.task.requests()
        for task_id, run in self.runs.items():
            assert run.end is not None
            match run.end["status"]:
                case "completed":
                    assert run.end["output"] == ([ANSWER] * 3 if run.workflow == "many" else ANSWER)
                case "cancelled":
                    assert run.cancelled
                case _:
                    assert run.end["error"]["code"] == "gave_up_after_crash"  # type: ignore[index]  # JSON
                    assert run.kills >= ATTEMPTS
            again = Counter({name: times.get(f"{task_id}/{name}", 0) - 1 for name in JOBS[run.workflow]})
            for name, count in again.items():
                assert count <= run.kills, f"{name} was repeated {count} times over {run.kills} kills"
            if run.workflow == "chain":  # at most the job in flight, and the one whose end was not yet on the disk
                assert sum(count for count in again.values() if count > 0) <= 2 * run.kills
        self.runs.clear()


class Routers(RuleBasedStateMachine):
    """world: shared by all examples, which makes the database old."""

    world: World

    @initialize()
    def begin(self) -> None:
        self.world.examples += 1
        if self.world.service is None:
            self.world.start()

    @rule(name=st.sampled_from(sorted(JOBS)), ms=st.integers(0, 60), count=st.integers(1, 6))
    def submit(self, name: str, ms: int, count: int) -> None:
        for _ in range(count):
            self.world.submit(name, ms, None)

    @rule(name=st.sampled_from(sorted(JOBS)), key=st.integers(0, 3))
    def submit_with_key(self, name: str, key: int) -> None:
        self.world.submit(name, 20, f"{name}-{key}-{self.world.examples}")

    @precondition(lambda self: self.world.runs)
    @rule(index=st.integers(0, 1000))
    def cancel(self, index: int) -> None:
        task_id = sorted(self.world.runs)[index % len(self.world.runs)]
        answer = self.world.request("POST", f"/tasks/{task_id}/cancel")
        assert answer.status_code in (200, 409)
        self.world.runs[task_id].cancelled |= answer.status_code == 200

    @precondition(lambda self: self.world.runs)
    @rule(index=st.integers(0, 1000))
    def read(self, index: int) -> None:
        self.world.look(sorted(self.world.runs)[index % len(self.world.runs)])

    @rule(after_ms=st.integers(0, 250))
    def kill(self, after_ms: int) -> None:
        at = time.monotonic() + after_ms / 1000
        eventually(lambda: time.monotonic() >= at)
        self.world.kill()
        self.world.start()

    def teardown(self) -> None:
        self.world.settle()


@pytest.fixture
def world() -> Iterator[World]:
    with TemporaryDirectory(prefix="mc-") as name, echo_task(Path(name), "text") as task:
        opened = World(Path(name), task)
        yield opened
        opened.life.close()
        eventually(lambda: task.counters()["computing"] == 0)


def run_until(world: World, kills: int) -> None:
    machine = type("Machine", (Routers,), {"world": world})
    while world.kills < kills:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=5,
                stateful_step_count=12,
                phases=[Phase.generate],  # real processes cannot be made to do the same again
                suppress_health_check=list(HealthCheck),
                database=None,
                print_blob=True,
            ),
        )


@pytest.mark.server
def test_twenty_kills_lose_nothing(world: World) -> None:
    run_until(world, 20)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_two_hundred_kills_lose_nothing(world: World) -> None:
    run_until(world, 200)
