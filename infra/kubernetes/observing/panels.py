"""What the dashboard shows: runs as clients see them, the router's queues, the tasks' engines, and the processes."""

from collections.abc import Iterator
from typing import Any, Final

from infra.kubernetes.observing.dashboard import Panel, Query, Row, Variable, dashboard
from infra.kubernetes.observing.promql import Scope, equal, quantile, rate, total, unequal
from infra.kubernetes.workload import Export

_NOW: Final = "$__rate_interval"
"""Grafana's: as short as the time between two scrapes allows."""
_TOKENS: Final = "suffix: tokens/s"
_WORKFLOW: Final = 'workflow=~"$workflow"'
_COMPONENT: Final = 'component=~"$component"'
_QUEUE: Final = 'component=~"$component|router"'
"""The router's own queue as well."""
_SHARES: Final = (0.5, 0.95, 0.99)


def dashboard_of(export: Export) -> dict[str, Any]:
    scope = Scope("$namespace", export.router.name)
    rows = (
        Row("Runs", tuple(_runs(scope))),
        Row("Router", tuple(_router(scope))),
        Row("Tasks", tuple(_tasks(scope))),
        Row("Processes", tuple(_processes(scope))),
    )
    return dashboard(export, rows, _variables(export, scope))


def _variables(export: Export, scope: Scope) -> Iterator[Variable]:
    yield Variable("namespace", "Namespace", "model_compose_build_info", "namespace", export.namespace)
    yield Variable("workflow", "Workflow", scope.of_router("runs_total"), "workflow")
    yield Variable("component", "Component", scope.of_router("wanted_requests"), "component")


def _runs(scope: Scope) -> Iterator[Panel]:
    every = scope.of_router("runs_total", _WORKFLOW)
    failed = scope.of_router("runs_total", _WORKFLOW, equal("status", "failed"))
    answered = scope.of_router("runs_total", _WORKFLOW, 'status=~"completed|failed"')
    seconds = scope.of_router("run_duration_seconds_bucket", _WORKFLOW)
    tokens = scope.of_router("tokens_total", _WORKFLOW)
    up = scope.of_pods("up", equal("job", scope.router))
    yield _number("Runs", "Runs that end in a second.", f"sum({rate(every, _NOW)})", "ops")
    yield _number(
        "Failed",
        "Share of the runs that fail; those that their clients cancel are left out.",
        f"sum({rate(failed, _NOW)}) / sum({rate(answered, _NOW)})",
        "percentunit",
    )
    yield _number(
        "Duration", "95 of 100 runs take less, waiting included.", quantile(0.95, "namespace", seconds, _NOW), "s"
    )
    yield _number("At work", "Runs that are carried out.", f"sum({_of_gate(scope, 'active_requests')})")
    yield _number("Waiting", "Runs that wait for their turn.", f"sum({_of_gate(scope, 'queued_requests')})")
    yield _number("Routers", "Pods of the router that Prometheus reaches.", f"sum({up})")
    yield Panel(
        "Runs by outcome",
        "Runs that end in a second, by workflow and last state.",
        [Query(total("workflow, status", rate(every, _NOW)), "{{workflow}} {{status}}")],
        "ops",
    )
    yield Panel(
        "Duration of runs",
        "From a run's acceptance to its end, waiting included.",
        _quantiles("workflow", seconds),
        "s",
    )
    yield Panel(
        "Refusals",
        "Requests that were refused, by the code of their error.",
        [Query(total("reason", rate(scope.of_router("rejected_requests_total"), _NOW)), "{{reason}}")],
        "reqps",
    )
    yield Panel(
        "Tokens of runs",
        "What models have read and written for runs, by workflow.",
        [Query(total("workflow, kind", rate(tokens, _NOW)), "{{workflow}} {{kind}}")],
        _TOKENS,
    )
    yield Panel(
        "Asynchronous runs",
        "Those that wait, which each router counts alike, and those at work.",
        [
            Query(f"max({scope.of_router('durable_runs', equal('state', 'waiting'))})", "waiting"),
            Query(f"sum({scope.of_router('durable_runs', equal('state', 'active'))})", "active"),
        ],
    )
    yield Panel(
        "Asynchronous runs taken up",
        "How many in a second; those of a router that left them, and those that another one took over.",
        [
            Query(f"sum({rate(scope.of_router(f'durable_{name}_total'), _NOW)})", legend)
            for name, legend in (("claimed_runs", "taken up"), ("recovered_runs", "recovered"), ("lost_leases", "lost"))
        ],
        "ops",
    )


def _router(scope: Scope) -> Iterator[Panel]:
    durations = "task_request_duration_seconds"
    for title, description, name in (
        ("At work", "Requests that the router has sent to tasks, and its runs.", "active_requests"),
        ("Waiting", "Requests that wait at the router for their turn.", "queued_requests"),
    ):
        series = scope.of_router(name, _QUEUE)
        yield Panel(title, description, [Query(total("component", series), "{{component}}")])
    yield Panel(
        "Wanted",
        "What each task is asked for, also while no pod of it is there: above 0 it is woken.",
        [Query(total("component", scope.of_router("wanted_requests", _COMPONENT)), "{{component}}")],
    )
    yield Panel(
        "Wait for a turn",
        "At the router, before a run or a request to a task begins.",
        _quantiles("component", scope.of_router("queue_wait_seconds_bucket", _QUEUE)),
        "s",
    )
    yield Panel(
        "Requests to tasks",
        "Requests that end in a second, by how.",
        [
            Query(
                total("component, status", rate(scope.of_router(f"{durations}_count", _COMPONENT), _NOW)),
                "{{component}} {{status}}",
            )
        ],
        "reqps",
    )
    yield Panel(
        "Duration of requests to tasks",
        "From the router to a task and back.",
        _quantiles("component", scope.of_router(f"{durations}_bucket", _COMPONENT)),
        "s",
    )
    yield Panel(
        "Time to the first text",
        "From the router's request to the first text of its stream.",
        _quantiles("component", scope.of_router("time_to_first_token_seconds_bucket", _COMPONENT)),
        "s",
    )


def _tasks(scope: Scope) -> Iterator[Panel]:
    yield Panel(
        "Pods",
        "Pods of each task that Prometheus reaches.",
        [Query(total("job", scope.of_pods("up", unequal("job", scope.router))), "{{job}}")],
    )
    yield Panel(
        "Tokens",
        "Tokens of completed requests.",
        [Query(total("component, kind", rate(_of_task(scope, "tokens_total"), _NOW)), "{{component}} {{kind}}")],
        _TOKENS,
    )
    yield Panel(
        "Requests",
        "Requests that end in a second, by how: completed, cancelled, or the code of their error.",
        [Query(total("component, status", rate(_of_task(scope, "requests_total"), _NOW)), "{{component}} {{status}}")],
        "reqps",
    )
    yield Panel(
        "Batch",
        "Sequences that are computed together, by pod.",
        [Query(_of_task(scope, "batch_rows"), "{{pod}}")],
    )
    yield Panel(
        "Queue of tasks",
        "Requests that wait for the model, and those that it computes.",
        [
            Query(total("component", _of_task(scope, "queued_requests")), "{{component}} waiting"),
            Query(total("component", _of_task(scope, "active_requests")), "{{component}} active"),
        ],
    )
    yield Panel(
        "Cache of keys and values",
        "How full it is, by pod, where it has a limit.",
        [Query(f"{_of_task(scope, 'cached_tokens')} / ({_of_task(scope, 'cache_limit_tokens')} > 0)", "{{pod}}")],
        "percentunit",
    )
    for title, description, name in (
        ("Wait for the model", "From a request's arrival at a task to its turn.", "queue_wait"),
        (
            "Time to the first token",
            "From a request's arrival at a task to its first token or row.",
            "time_to_first_token",
        ),
        ("Time per token", "Between two tokens of a sequence behind the first one.", "time_per_output_token"),
        ("Step", "One step of the model: a token of every sequence, or a batch.", "step_duration"),
    ):
        yield Panel(title, description, _quantiles("component", _of_task(scope, f"{name}_seconds_bucket")), "s")


def _processes(scope: Scope) -> Iterator[Panel]:
    cpu = rate(scope.of_pods("process_cpu_seconds_total"), _NOW)
    starts = f"changes({scope.of_pods('process_start_time_seconds')}[1h])"
    memory = scope.of_pods("process_resident_memory_bytes")
    yield Panel("Memory", "What a process holds, its mapped weights included.", [Query(memory, "{{pod}}")], "bytes")
    yield Panel("Processors", "How many are busy.", [Query(cpu, "{{pod}}")])
    yield Panel("Restarts", "Within an hour, of the same pod.", [Query(starts, "{{pod}}")])


def _number(title: str, description: str, expr: str, unit: str = "short") -> Panel:
    return Panel(title, description, [Query(expr)], unit, "stat", width=4)


def _quantiles(by: str, buckets: str) -> list[Query]:
    return [Query(quantile(share, by, buckets, _NOW), f"{{{{{by}}}}} p{share * 100:g}") for share in _SHARES]


def _of_gate(scope: Scope, name: str) -> str:
    """Of the router's own queue, which is of runs."""
    return scope.of_router(name, equal("component", "router"))


def _of_task(scope: Scope, name: str) -> str:
    return scope.of_tasks(name, _COMPONENT)
