"""What Prometheus' own tool says of rules and configurations, and of what people ask in a dashboard."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.skipping import skip

CHOSEN = {"$__rate_interval": "1m", "$namespace": "shop", "$workflow": ".*", "$component": ".*"}
"""What Grafana writes for the variables."""


def promtool(*arguments: str | Path) -> str:
    """What it prints, which is something against the files where it fails. Raises ValueError then."""
    if shutil.which("promtool") is None:
        skip("there is no promtool; Debian's prometheus has it")
    made = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    if made.returncode:
        raise ValueError(made.stdout + made.stderr)
    return made.stdout


def write(path: Path, document: Any) -> Path:
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


def questions(dashboard: Mapping[str, Any]) -> Iterator[str]:
    """Every expression of a dashboard as Prometheus gets it, and the metrics of its variables."""
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    variables = [each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    asked += [each.removeprefix("label_values(").rpartition(",")[0] for each in variables]
    return (replaced(expr, CHOSEN) for expr in asked)


def replaced(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def recorded(exprs: Iterator[str]) -> dict[str, Any]:
    """As rules that record them, which the tool can judge."""
    rules = [{"record": f"dashboard:{index}", "expr": expr} for index, expr in enumerate(exprs)]
    return {"groups": [{"name": "dashboard", "rules": rules}]}
