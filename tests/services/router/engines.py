"""An engine over a task of the tests' own, without sockets."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from services.errors import ServiceError
from services.router.clients.client import OnDelta
from services.router.compiling import compile_graph
from services.router.execution.engine import Engine, Outcome
from services.router.journal import JobKey
from services.router.limits import Gate
from services.router.messages import Run, RunRequest
from services.router.runs.carrying import Carrier
from services.router.settings import RouterSettings, WorkflowSettings
from services.router.watching.metrics import Metrics
from services.wire import Delta, Done, Readiness, TaskRequest
from tests.services.router.rig import job, text, workflow

Answer = Callable[[TaskRequest, OnDelta | None], Awaitable[Done]]


async def echo(request: TaskRequest, on_delta: OnDelta | None) -> Done:
    result = request.fields["text"]
    if on_delta is not None:
        await on_delta(Delta(result))
    return Done(result, {"total_tokens": 1, "seed": 5})


async def hang(request: TaskRequest, on_delta: OnDelta | None) -> Done:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError


class FakeTask:
    """Answers with a function; counts what runs at once and what was cancelled."""

    def __init__(self, answer: Answer = echo) -> None:
        self.answer = answer
        self.requests: list[TaskRequest] = []
        self.running = self.most = self.cancelled = 0

    @property
    def texts(self) -> list[str]:
        return [request.fields["text"] for request in self.requests]

    async def predict(self, request: TaskRequest, on_delta: OnDelta | None) -> Done:
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self.answer(request, on_delta)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def readiness(self) -> Readiness:
        return Readiness("ready")


def failing(*times: int, status: int = 500) -> Answer:
    """Fails at these requests, counted from 1, and echoes at the others; without numbers, always."""
    count = 0

    async def answer(request: TaskRequest, on_delta: OnDelta | None) -> Done:
        nonlocal count
        count += 1
        if not times or count in times:
            raise ServiceError(status, "broken", f"Request {count} failed.")
        return await echo(request, on_delta)

    return answer


class MemoryJournal:
    """Finds what another journal has noted up to some point; keeps what is noted."""

    def __init__(self, found: Iterable[tuple[JobKey, Mapping[str, Any]]] = ()) -> None:
        self.found = dict(found)
        self.noted: list[tuple[JobKey, Mapping[str, Any]]] = []

    def find(self, key: JobKey) -> Mapping[str, Any] | None:
        return self.found.get(key)

    def note(self, key: JobKey, record: Mapping[str, Any]) -> None:
        assert key not in self.found, f"{key} was done again"
        assert key not in dict(self.noted), f"{key} was done twice"
        self.noted.append((key, record))


async def until(condition: Callable[[], object]) -> None:
    """Let everything else run until the condition holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # nothing tells when it has changed
            await asyncio.sleep(0)


class Bench:
    """An engine of one text component `c` over `task`, whose prompt is the input `prompt`."""

    def __init__(self, task: FakeTask, *workflows: WorkflowSettings, components: Iterable[Any] = (), **c: Any) -> None:
        settings = RouterSettings(components=(text("c", **c), *components), workflows=workflows, env={"E": "${x}"})
        self.engine = Engine(compile_graph(settings), {"c": task}, settings.env)

    async def run(
        self,
        given: Mapping[str, Any] | None = None,
        chunks: list[Any] | None = None,
        journal: MemoryJournal | None = None,
        **request: Any,
    ) -> Outcome:
        """The outcome of the default workflow. chunks: takes the pieces of a streamed run."""
        asked = RunRequest(input=given or {}, **request)
        compiled, _ = self.engine.check(asked)

        async def keep(path: str, piece: str) -> None:
            if chunks is not None:
                chunks.append((path, piece))

        run = Run("T", compiled.id, "R", kept=journal is not None, session_id="S")
        return await self.engine.execute(compiled, asked, run, keep if chunks is not None else None, journal)


async def execute(
    task: FakeTask, given: dict[str, Any], *jobs: Any, chunks: list[Any] | None = None, **changes: Any
) -> Outcome:
    """The outcome of a workflow `w` of these jobs, or of one job on `c`; `changes` are the workflow's."""
    component = changes.pop("component", {})
    bench = Bench(task, workflow("w", *(jobs or (job("j", "c"),)), **changes), **component)
    return await bench.run(given, chunks)


def ask(name: str, prompt: str | None = None, **changes: Any) -> dict[str, Any]:
    """The settings of a component job on `c` that asks for this prompt, by default the workflow's."""
    own = {} if prompt is None else {"input": {"prompt": prompt}}
    return {"id": name, "type": "component", "component": "c", "action": "__action__", **own, **changes}


def do(prompt: str | None = None, **changes: Any) -> dict[str, Any]:
    """The settings of a call in a for-each or a loop."""
    own = {} if prompt is None else {"input": {"prompt": prompt}}
    return {"component": "c", "action": "__action__", **own, **changes}


class ClusterBench:
    """A carrier of runs of one text component `c` over `task`, in a cluster unless said otherwise."""

    def __init__(
        self,
        task: FakeTask,
        *jobs: Any,
        run_timeout_s: float | None = None,
        in_cluster: bool = True,
        may_sleep: bool = True,
        **c: Any,
    ) -> None:
        component = text("c", endpoint="http://task-c:3000", may_sleep=may_sleep, **c)
        settings = RouterSettings(components=(component,), workflows=(workflow("w", *(jobs or (ask("a"),))),))
        self.engine = Engine(compile_graph(settings), {"c": task}, {}, run_timeout_s, in_cluster)
        gate = Gate("The router", 0, 64, status=503, code="overloaded")
        self.carrier = Carrier(self.engine, gate, Metrics(self.engine.graph.workflows), run_timeout_s)
        self._numbers = itertools.count()

    async def run(self, journal: MemoryJournal | None = None, client: str = "") -> Run:
        """A run that has ended."""
        run = Run(f"T{next(self._numbers)}", "w", "R", kept=journal is not None)
        request = RunRequest(input={"prompt": "x"}, client=client)
        await self.carrier.carry_out(self.engine.graph.workflows["w"], request, run, None, journal)
        return run
