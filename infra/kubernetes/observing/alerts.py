"""What somebody should be called for: a few alerts, by what clients notice or are about to, each with its remedy."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from infra.kubernetes.objects import Manifest, manifest
from infra.kubernetes.observing.promql import Scope, equal, increase, rate, total
from infra.kubernetes.observing.scraping import watched
from infra.kubernetes.workload import Export, Workload

FULL: Final = ("out_of_memory", "overloaded", "queue_full", "store_unavailable")
"""Codes of refusals that say that there is too little of something, and not that a request is wrong or a pod new."""

_FAILED_SHARE: Final = 0.05
_FEWEST_FAILED: Final = 5
_REFUSED_SHARE: Final = 0.05
_LONG_WAIT: Final = "5.0"
"""Seconds, as the histograms write this bound."""
_WAITED_SHARE: Final = 0.05
_RESTARTS: Final = 2
_MEMORY_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """after_s: how long it must be so. description: a template of Prometheus, with what to do about it."""

    name: str
    expr: str
    after_s: float
    severity: Literal["critical", "warning"]
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)


def rule_groups(export: Export) -> dict[str, Any]:
    """A file of rules, as Prometheus reads it."""
    rules = [_rule(export, alert) for alert in alerts(export)]
    return {"groups": [{"name": f"model-compose-{export.namespace}", "rules": rules}]}


def prometheus_rule(export: Export) -> Manifest:
    """The same for Prometheus' operator."""
    return manifest("monitoring.coreos.com/v1", "PrometheusRule", export, export.name, spec=rule_groups(export))


def alerts(export: Export) -> Iterator[Alert]:
    """Of the whole file, and of each of its workloads."""
    scope = Scope(export.namespace, export.router.name)
    for workload in watched(export):
        if not workload.may_sleep:
            yield _down(scope, workload)
    for workload in watched(export):
        if workload.kind == "task":
            yield _task_not_answering(scope, workload)
    yield _runs_fail(scope)
    yield _requests_refused(scope)
    yield _requests_wait(scope)
    yield _runs_stuck(scope)
    yield _restarts(scope)
    for workload in watched(export):
        yield _memory_nearly_full(scope, workload)


def _rule(export: Export, alert: Alert) -> dict[str, Any]:
    return {
        "alert": f"ModelCompose{alert.name}",
        "expr": alert.expr,
        "for": f"{math.ceil(alert.after_s / 60)}m",
        "labels": {"namespace": export.namespace, "severity": alert.severity, **alert.labels},
        "annotations": {"summary": alert.summary, "description": alert.description},
    }


def _down(scope: Scope, workload: Workload) -> Alert:
    """Prometheus may be what cannot reach it, which nobody wants to find out later."""
    return Alert(
        name="Down",
        expr=f"absent({scope.of_pods('up', equal('job', workload.name))} == 1)",
        after_s=5 * 60,
        severity="critical",
        labels={"job": workload.name},
        summary=f"No pod of {workload.name} answers.",
        description=(
            f"Prometheus has reached no pod of {workload.name} for 5 minutes. See `kubectl get pods` and "
            f"`kubectl logs deployment/{workload.name}` in the namespace. Where they run and are ready, Prometheus "
            "cannot reach them: it must have the labels and the namespace that the network policies let in."
        ),
    )


def _task_not_answering(scope: Scope, workload: Workload) -> Alert:
    """What the router holds or has refused counts as wanted, so this covers a task that does not wake."""
    component = equal("component", workload.service)
    done = scope.of_router("task_request_duration_seconds_count", component, 'status="completed"')
    by = "namespace, component"
    wanted = total(by, scope.of_router("wanted_requests", component))
    return Alert(
        name="TaskNotAnswering",
        expr=f"{wanted} > 0\nunless\n{total(by, increase(done, '5m'))} > 0",
        after_s=max(workload.start_timeout_s, workload.request_timeout_s),
        severity="critical",
        labels={"job": workload.name},
        summary="{{ $labels.component }} is wanted and answers nothing.",
        description=(
            "The router has requests for {{ $labels.component }}, and none was answered for longer than a start or a "
            f"request may take. See `kubectl describe pods` and `kubectl logs deployment/{workload.name}`: a pod that "
            "waits for a node needs more of them, one that fails to load says why, one that is ended needs more memory."
        ),
    )


def _runs_fail(scope: Scope) -> Alert:
    by = "namespace, workflow"
    failed = total(by, increase(scope.of_router("runs_total", 'status="failed"'), "10m"))
    ended = total(by, increase(scope.of_router("runs_total", 'status=~"completed|failed"'), "10m"))
    return Alert(
        name="RunsFail",
        expr=f"{failed}\n/\n{ended} > {_FAILED_SHARE:g}\nand\n{failed} >= {_FEWEST_FAILED}",
        after_s=5 * 60,
        severity="critical",
        summary="{{ $value | humanizePercentage }} of the runs of {{ $labels.workflow }} fail.",
        description=(
            f"More than {_FAILED_SHARE:.0%} of the runs of {{{{ $labels.workflow }}}} that ended in the last 10 "
            "minutes have failed. The router's log has a line for each, with the code of its error; the requests to "
            "models by component on the dashboard show which task it is. After an update, `kubectl rollout undo`."
        ),
    )


def _requests_refused(scope: Scope) -> Alert:
    refusals = increase(scope.of_router("rejected_requests_total", f'reason=~"{"|".join(FULL)}"'), "10m")
    done = increase(scope.of_router("runs_total", 'status="completed"'), "10m")
    by_reason = total("namespace, reason", refusals)
    asked = f"(\n  {total('namespace', refusals)}\n  +\n  {total('namespace', done)}\n)"
    return Alert(
        name="RequestsRefused",
        expr=f"{by_reason}\n/ on (namespace) group_left ()\n{asked} > {_REFUSED_SHARE:g}",
        after_s=10 * 60,
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the requests are refused: {{ $labels.reason }}.",
        description=(
            "`queue_full` and `overloaded`: more comes in than is answered; raise `scaling.max`, `replicas` or "
            "`max_concurrent_count` of the component whose queue is full, or let more wait with `max_queue_length`. "
            "`store_unavailable`: the routers cannot use their database. `out_of_memory`: allow shorter inputs, or "
            "give the task more memory."
        ),
    )


def _requests_wait(scope: Scope) -> Alert:
    """An hour shows that it matters, and five minutes that it has not passed."""
    waits = (scope.of_router, "queue_wait_seconds"), (scope.of_tasks, "queue_wait_seconds")
    kinds = []
    for series, name in waits:
        shares = []
        for window in ("1h", "5m"):
            soon = total("namespace, component", rate(series(f"{name}_bucket", f'le="{_LONG_WAIT}"'), window))
            every = total("namespace, component", rate(series(f"{name}_count"), window))
            shares.append(f"  1 - {soon}\n    / {every} > {_WAITED_SHARE:g}")
        kinds.append(f"(\n{shares[0]}\n  and\n{shares[1]}\n)")
    return Alert(
        name="RequestsWait",
        expr="\nor\n".join(kinds),
        after_s=5 * 60,
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the requests to {{ $labels.component }} wait long.",
        description=(
            f"More than {_WAITED_SHARE:.0%} of the requests to {{{{ $labels.component }}}} waited longer than "
            f"{float(_LONG_WAIT):g} seconds for their turn, in the last hour and in the last 5 minutes. Raise its "
            "`scaling.max` or `replicas`, lower `scaling.target` so that pods come sooner, or raise "
            "`max_concurrent_count` where the task has room for more at once."
        ),
    )


def _runs_stuck(scope: Scope) -> Alert:
    """Every router counts the same ones that wait, for they wait in the database."""
    waiting = scope.of_router("durable_runs", equal("state", "waiting"))
    claimed = total("namespace", increase(scope.of_router("durable_claimed_runs_total"), "15m"))
    return Alert(
        name="RunsStuck",
        expr=f"max by (namespace) ({waiting}) > 0\nunless\n{claimed} > 0",
        after_s=15 * 60,
        severity="warning",
        summary="{{ $value }} asynchronous runs wait, and none is begun.",
        description=(
            "No router has begun an asynchronous run for 15 minutes, and some wait. Either all places are taken by "
            "runs that take as long, which `max_concurrent_count` of the controller bounds, or the routers cannot use "
            "their database; their logs say so."
        ),
    )


def _restarts(scope: Scope) -> Alert:
    return Alert(
        name="Restarts",
        expr=f"changes({scope.of_pods('process_start_time_seconds')}[1h]) > {_RESTARTS}",
        after_s=60,
        severity="warning",
        summary="{{ $labels.pod }} restarts again and again.",
        description=(
            "The process of {{ $labels.pod }} was started anew {{ $value }} times within an hour. See "
            "`kubectl logs --previous` and the last state in `kubectl describe pod`: OOMKilled needs more memory, a "
            "failed probe more time."
        ),
    )


def _memory_nearly_full(scope: Scope, workload: Workload) -> Alert:
    limit = round(_MEMORY_SHARE * workload.share.memory_bytes)
    where = "its Deployment, by a patch in an overlay of your own"
    if workload.kind == "task":
        where = f"`{workload.service}`, by `resources.memory` in the file"
    return Alert(
        name="MemoryNearlyFull",
        expr=f"{scope.of_pods('process_resident_memory_bytes', equal('job', workload.name))} > {limit}",
        after_s=10 * 60,
        severity="warning",
        labels={"job": workload.name},
        summary=f"{{{{ $labels.pod }}}} uses {_MEMORY_SHARE:.0%} of its memory.",
        description=(
            f"{{{{ $labels.pod }}}} holds {{{{ $value | humanize1024 }}}}B, and is ended when it needs more than its "
            f"limit. Give more to {where}, or let fewer requests run at once."
        ),
    )
