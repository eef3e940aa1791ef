"""A component's id becomes a name that BentoML, registries and clusters accept."""

import re
import subprocess
import sys
from typing import Any

import pytest

from services.service import service_name

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("component", "name"),
    [
        ("chat", "task-chat"),
        ("chat-completion", "task-chat-completion"),
        ("My_Chat.v2", "task-my-chat-v2-f303b3bb"),
        ("---", "task-cb3f91d5"),
        ("x" * 80, "task-" + "x" * 36 + "-d929cdee"),
    ],
)
def test_names_are_labels(component: str, name: str) -> None:
    assert service_name(component) == name
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,48}[a-z0-9]", name)


def test_ids_that_look_alike_stay_apart() -> None:
    assert len({service_name(component) for component in ("a_b", "a-b", "A-b", "a.b", "a--b")}) == 5


def test_bentoml_takes_a_service_of_any_id() -> None:
    """In a process of its own, because importing BentoML warns and takes a second."""
    code = """
from pathlib import Path
from services.service import make_service, service_name
from services.settings import TaskSettings
for id in ("traffic", "envs", "1st", "workers", "한국어"):
    settings = TaskSettings(id=id, task="chat-completion", model="any", model_path=Path("/nowhere"))
    assert make_service(settings).name == service_name(id)
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        ({}, {}),
        ({"cpu": "500m", "memory": "16Gi", "gpu": 0}, {"cpu": "500m", "memory": "16Gi"}),
        ({"gpu": 2}, {"gpu": 2}),
    ],
)
def test_bentoml_is_told_of_the_resources(resources: dict[str, Any], told: dict[str, Any]) -> None:
    code = f"""
from pathlib import Path
from services.service import make_service
from services.settings import TaskSettings
settings = TaskSettings(
    id="a", task="chat-completion", model="any", model_path=Path("/nowhere"), resources={resources!r}
)
assert make_service(settings).config["resources"] == {told!r}, make_service(settings).config
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
