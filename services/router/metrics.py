"""A few counters in Prometheus' text format."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from services.router.limits import Gate
from services.router.messages import Run

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts runs as they end."""

    def __init__(self) -> None:
        self._runs: Counter[tuple[str, str]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._tokens: Counter[tuple[str, str]] = Counter()

    def ended(self, run: Run, duration_s: float) -> None:
        """Count a finished run; the duration includes its waiting."""
        self._runs[run.workflow_id, run.status] += 1
        self._seconds[run.workflow_id] += duration_s
        for kind in ("prompt_tokens", "completion_tokens"):
            if count := run.usage.get(kind):
                self._tokens[run.workflow_id, kind.removesuffix("_tokens")] += count

    def render(self, gates: Mapping[str, Gate]) -> str:
        """The whole page. gates: by component id, `router` for the router's own."""
        families = [
            _family(
                "runs_total",
                "counter",
                "Runs that ended, by their last state.",
                [({"workflow": workflow, "status": status}, count) for (workflow, status), count in self._runs.items()],
            ),
            _family(
                "run_seconds_total",
                "counter",
                "Time that runs took, waiting included.",
                [({"workflow": workflow}, seconds) for workflow, seconds in self._seconds.items()],
            ),
            _family(
                "tokens_total",
                "counter",
                "Tokens read and written.",
                [({"workflow": workflow, "kind": kind}, count) for (workflow, kind), count in self._tokens.items()],
            ),
            _family(
                "active_requests",
                "gauge",
                "Requests at work.",
                [({"component": name}, gate.active) for name, gate in gates.items()],
            ),
            _family(
                "queued_requests",
                "gauge",
                "Requests that wait.",
                [({"component": name}, gate.queued) for name, gate in gates.items()],
            ),
        ]
        return "\n".join(families) + "\n"


def _family(name: str, kind: str, description: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    lines = [f"# HELP model_compose_{name} {description}", f"# TYPE model_compose_{name} {kind}"]
    for labels, value in samples:
        written = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"model_compose_{name}{{{written}}} {value:.10g}")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
