"""What containers are told of the machine that starts them."""

from pathlib import Path

import pytest

from compose.surroundings import surroundings, tracing

pytestmark = pytest.mark.unit


LOGS = {"MODEL_COMPOSE_LOG_FORMAT": "json", "MODEL_COMPOSE_LOG_LEVEL": "debug"}
TRACES = {"OTEL_SERVICE_NAME": "mine", "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer secret"}
OTHERS = {"HOME": "/home/me", "API_TOKEN": "secret", "OTEL_COLLECTOR_TOKEN": "secret", "MODEL_COMPOSE_CACHE": "/c"}


def test_logs_and_traces_are_written_as_the_command_is_told_and_nothing_else_is_passed_on(tmp_path: Path) -> None:
    environ = {**LOGS, **TRACES, **OTHERS}
    assert surroundings(environ, tmp_path / "absent") == LOGS
    assert tracing(environ) == TRACES


def test_the_time_zone_is_that_of_the_machine_unless_the_command_has_another(tmp_path: Path) -> None:
    zone = tmp_path / "zoneinfo" / "Asia" / "Tokyo"
    zone.parent.mkdir(parents=True)
    zone.touch()
    link = tmp_path / "localtime"
    link.symlink_to(zone)
    assert surroundings({}, link) == {"TZ": "Asia/Tokyo"}
    assert surroundings({"TZ": "Europe/Berlin"}, link) == {"TZ": "Europe/Berlin"}
    assert surroundings({}, tmp_path) == {}
