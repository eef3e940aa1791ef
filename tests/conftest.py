"""What holds for every test: one kind each, quiet libraries, one torch thread, settings for hypothesis."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.docker.fixtures", "tests.ui.browser"]

KINDS = {"unit", "server", "browser", "docker", "kube", "readme", "soak"}
TESTS = Path(__file__).parent
OF_DOCKER = ("conformance", "docker", "e2e", "kube")
"""Folders that may have tests of this kind; `make test` reads no others for them."""

os.environ.update(
    BENTOML_DO_NOT_TRACK="True",
    GRADIO_ANALYTICS_ENABLED="False",
    HF_HUB_DISABLE_TELEMETRY="1",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)
for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "MODEL", "MODEL_COMPOSE_RUNTIME", "NO_COLOR", "FORCE_COLOR"):
    os.environ.pop(name, None)

# Whoever starts the tests in the background may have had SIGINT ignored, which every command under test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine stretches single examples; the number of examples is what bounds the time.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100)
settings.load_profile("project")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Every test names its kind, so that no target leaves one out by accident; files that may take long come first.

    Processes that share the work take whole files, and a long one that begins last would leave the others idle.
    """
    for item in items:
        kinds = _kinds(item)
        if not kinds:
            raise pytest.UsageError(f"{item.nodeid} has none of the markers {', '.join(sorted(KINDS))}")
        if "docker" in kinds and not any(item.path.is_relative_to(TESTS / name) for name in OF_DOCKER):
            raise pytest.UsageError(f"{item.nodeid} wants an engine: its place is in {', '.join(OF_DOCKER)}")
    yield  # from here on there are only those that were chosen
    most_s: dict[Path, float] = {}
    for item in items:
        most_s[item.path] = max(most_s.get(item.path, 0), _most_s(item))
    items.sort(key=lambda item: -most_s[item.path])


def _kinds(item: pytest.Item) -> set[str]:
    return KINDS & {marker.name for marker in item.iter_markers()}


def _most_s(item: pytest.Item) -> float:
    """How long a test may take; all of the unit ones take less than any other."""
    limit = item.get_closest_marker("timeout")
    return 0 if "unit" in _kinds(item) else float(limit.args[0] if limit else item.config.getini("timeout"))
