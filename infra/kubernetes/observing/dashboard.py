"""A dashboard for Grafana 11 and newer, as data: rows of panels, each of queries that Prometheus answers."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from infra.kubernetes.exceptions import of_dashboard
from infra.kubernetes.objects import labels
from infra.kubernetes.workload import Export

DASHBOARD: Final = "dashboard.json"
_LABEL: Final = "grafana_dashboard"
"""By which Grafana's sidecar finds it, in whichever namespace it is."""

_COLUMNS: Final = 24
_SCHEMA: Final = 39
"""Of Grafana 11.0; newer ones know how to read it."""
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """legend: a template of Grafana over the labels of a series."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """unit: as Grafana calls it. kind: numbers as of now, or lines over time. width: of 24 columns."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: Literal["stat", "timeseries"] = "timeseries"
    width: int = 8


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """What can be chosen above the panels. metric: of which each value of `label` can be."""

    name: str
    title: str
    metric: str
    label: str
    chosen: str | None = None
    """The value at first; None for all of them."""


def dashboard_uid(export: Export) -> str:
    """The same for every version of an application, and another one for each installation of it."""
    return f"model-compose-{hashlib.sha256(f'{export.namespace}/{export.name}'.encode()).hexdigest()[:12]}"


def dashboard_config_map(export: Export) -> dict[str, Any]:
    """What Kustomize makes a ConfigMap from, so that the dashboard is in one file that people can import as well.

    Its name stays the same, and its key is unlike any other's, for Grafana's sidecar writes all into one folder.
    """
    return {
        "name": f"{export.name}-dashboard",
        "namespace": export.namespace,
        "files": [f"{dashboard_uid(export)}.json={DASHBOARD}"],
        "options": {
            "annotations": of_dashboard(),
            "disableNameSuffixHash": True,
            "labels": {**labels(export), _LABEL: "1"},
        },
    }


def dashboard(export: Export, rows: Iterable[Row], variables: Iterable[Variable]) -> dict[str, Any]:
    return {
        "annotations": {"list": []},
        "description": "Written by `model-compose export kubernetes`; the next export replaces it.",
        "editable": True,
        "graphTooltip": 1,
        "links": [],
        "panels": list(_placed(rows)),
        "refresh": "30s",
        "schemaVersion": _SCHEMA,
        "tags": ["model-compose"],
        "templating": {"list": [_source(), *map(_variable, variables)]},
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": f"{export.name} (model-compose)",
        "uid": dashboard_uid(export),
    }


def json_text(document: Any) -> str:
    """With sorted keys, and a line for each value."""
    return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _placed(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """From left to right, and on from the left where the next one has no room."""
    number = top = 0
    for row in rows:
        number += 1
        yield _row(row, number, top)
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            number += 1
            if left + panel.width > _COLUMNS:
                top, left, height = top + height, 0, 0
            tall = 4 if panel.kind == "stat" else 8
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": tall})
            left, height = left + panel.width, max(height, tall)
        top += height


def _row(row: Row, number: int, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
    return {"collapsed": False, "gridPos": place, "id": number, "panels": [], "title": row.title, "type": "row"}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "datasource": _SOURCE,
        "description": panel.description,
        "fieldConfig": {"defaults": {"min": 0, "unit": panel.unit, **_FIELDS[panel.kind]}, "overrides": []},
        "gridPos": place,
        "id": number,
        "options": _OPTIONS[panel.kind],
        "targets": [_target(panel, query, index) for index, query in enumerate(panel.queries)],
        "title": panel.title,
        "type": panel.kind,
    }


def _target(panel: Panel, query: Query, index: int) -> dict[str, Any]:
    is_now = panel.kind == "stat"
    return {
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "instant": is_now,
        "legendFormat": query.legend,
        "range": not is_now,
        "refId": chr(ord("A") + index),
    }


_FIELDS: Final[dict[str, Any]] = {
    "stat": {},
    "timeseries": {"custom": {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}},
}
_OPTIONS: Final[dict[str, Any]] = {
    "stat": {
        "colorMode": "none",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    },
    "timeseries": {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
}


def _source() -> dict[str, Any]:
    """Any Prometheus that Grafana knows, the default one at first."""
    return {
        "current": {},
        "hide": 0,
        "label": "Data source",
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "type": "datasource",
    }


def _variable(variable: Variable) -> dict[str, Any]:
    question = f"label_values({variable.metric}, {variable.label})"
    takes_all = variable.chosen is None
    chosen: Any = {"selected": True, "text": ["All"], "value": ["$__all"]}
    if not takes_all:
        chosen = {"selected": True, "text": variable.chosen, "value": variable.chosen}
    return {
        "current": chosen,
        "datasource": _SOURCE,
        "hide": 0,
        "includeAll": takes_all,
        "label": variable.title,
        "multi": takes_all,
        "name": variable.name,
        "options": [],
        "query": {"query": question, "refId": "StandardVariableQuery"},
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "type": "query",
    }
