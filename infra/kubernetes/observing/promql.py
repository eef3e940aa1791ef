"""Expressions of PromQL over our metrics, in one namespace: two installations of a file in one Prometheus stay apart.

What collects the metrics names their pods by `namespace`, `job` (a workload's Service) and `pod`.
"""

from dataclasses import dataclass
from typing import Final

PREFIX: Final = "model_compose_"


@dataclass(frozen=True, slots=True)
class Scope:
    """namespace: its name, or a variable for it. router: the name of the router's workload."""

    namespace: str
    router: str

    def of_router(self, name: str, *matchers: str) -> str:
        return self.of_pods(PREFIX + name, equal("job", self.router), *matchers)

    def of_tasks(self, name: str, *matchers: str) -> str:
        """A metric of the tasks' own pages; each has the label `component`."""
        return self.of_pods(f"{PREFIX}task_{name}", *matchers)

    def of_pods(self, name: str, *matchers: str) -> str:
        """A metric that we did not name ourselves."""
        return f"{name}{{{','.join((equal('namespace', self.namespace), *matchers))}}}"


def equal(label: str, value: str) -> str:
    return f"{label}={_quoted(value)}"


def unequal(label: str, value: str) -> str:
    return f"{label}!={_quoted(value)}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def total(by: str, vector: str) -> str:
    return f"sum by ({by}) ({vector})"


def rate(series: str, window: str) -> str:
    return f"rate({series}[{window}])"


def increase(series: str, window: str) -> str:
    return f"increase({series}[{window}])"


def quantile(share: float, by: str, buckets: str, window: str) -> str:
    """buckets: of a histogram, whose label `le` is not among `by`."""
    return f"histogram_quantile({share:g}, {total(f'{by}, le', rate(buckets, window))})"
