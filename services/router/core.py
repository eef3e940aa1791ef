"""What all doors of the router share: settings, graph, engine, runs, metrics and the tasks' clients."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette

from services.router.clients.client import TaskCaller, TaskClient
from services.router.clients.measured import MeasuredTask
from services.router.compiling import compile_graph
from services.router.execution.engine import Engine
from services.router.limits import Gate
from services.router.runs.carrying import Carrier
from services.router.runs.durable import DurableRuns
from services.router.runs.registry import Runs
from services.router.settings import RouterSettings
from services.router.store.opening import open_store
from services.router.watching.metrics import Metrics


class Core:
    """The router without HTTP.

    Raises GraphError or ExpressionError for settings that do not fit, StoreError for a database that cannot be used.

    clients: by component id, from the start of the application to its end.
    """

    def __init__(self, settings: RouterSettings) -> None:
        self.settings = settings
        self.base_path = settings.base_path.rstrip("/")
        self.graph = compile_graph(settings)
        self.metrics = Metrics(self.graph.workflows)
        self.gate = Gate(
            "The router", settings.max_concurrent_count, settings.max_queue_length, status=503, code="overloaded"
        )
        self.clients: dict[str, TaskCaller] = {}
        self.engine = Engine(self.graph, self.clients, settings.env, settings.run_timeout_s, settings.in_cluster)
        for name, gate in {"router": self.gate, **self.engine.gates}.items():
            self.metrics.watch(name, gate)
        carrier = Carrier(self.engine, self.gate, self.metrics, settings.run_timeout_s)
        store = open_store(settings.database)
        durable = DurableRuns(
            store,
            self.engine,
            carrier,
            most_active=settings.max_concurrent_count,
            most_waiting=settings.max_queue_length,
            retention_s=settings.retention_s,
        )
        self.metrics.watch_durable(durable)
        self.runs = Runs(self.engine, self.gate, carrier, durable, store)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for component in self.graph.components.values():
                client = TaskClient(component.id, component.endpoint, self.settings.stages_path)
                stack.push_async_callback(client.close)
                metrics = self.metrics.task(component.id, self.engine.holds[component.id])
                self.clients[component.id] = MeasuredTask(client, component.id, metrics)
            await stack.enter_async_context(self.runs.open())
            yield
