from dataclasses import replace

import pytest

from infra.kubernetes.settings import config_map, config_map_name, variables
from tests.infra.kubernetes.objects import PAGE, ROUTER, SHOP, TASK

pytestmark = pytest.mark.unit


def test_the_name_changes_with_what_it_holds() -> None:
    names = {config_map_name(replace(TASK, environment={"A": value})) for value in ("1", "2", "1")}
    assert len(names) == 2
    found = config_map(SHOP, replace(TASK, environment={"B": "2", "A": "1"}))
    assert found["metadata"]["name"] == config_map_name(replace(TASK, environment={"A": "1", "B": "2"}))
    assert found["immutable"] is True


def test_no_file_brings_a_pod_online() -> None:
    given = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "DO_NOT_TRACK": "0", "LOG": "x"}
    assert variables(replace(TASK, environment=given)) == {
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "LOG": "x",
        "TRANSFORMERS_OFFLINE": "1",
    }
    assert variables(ROUTER) == {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
    assert variables(PAGE)["GRADIO_ANALYTICS_ENABLED"] == "False"
