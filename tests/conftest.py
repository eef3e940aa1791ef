"""What holds for every test: one kind each, quiet libraries, one torch thread, settings for hypothesis."""

import os
import signal
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.docker.fixtures", "tests.ui.browser"]

KINDS = {"unit", "server", "browser", "docker", "kube", "readme", "soak"}

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


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Every test names its kind, so that no target leaves one out by accident."""
    for item in items:
        if not KINDS & {marker.name for marker in item.iter_markers()}:
            raise pytest.UsageError(f"{item.nodeid} has none of the markers {', '.join(sorted(KINDS))}")
