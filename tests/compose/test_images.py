import json
from pathlib import Path

import pytest

from builders.spec import BuildSpec
from builders.weights import Resolved
from compose.images import build_specs, services_of
from infra.docker.container import project_name
from infra.errors import ExitCode, UserError
from tests.compose.loading import load

pytestmark = pytest.mark.unit

MODEL = Resolved(Path("/cache/tiny"), "0123", {})
FILE = """
controller: {webui: }
components:
  - {id: chat, type: model, task: chat-completion, model: acme/tiny, default: true}
  - {id: Chat_Two, type: model, task: chat-completion, model: acme/tiny, device: cuda}
  - {id: both, type: workflow, workflow: one}
workflows:
  - {id: one, component: chat, default: true}
  - {id: two, component: both}
"""


def specs(folder: Path, text: str, *services: str) -> tuple[BuildSpec, ...]:
    project = folder / "My Project"
    project.mkdir()
    loaded = load(project, text)
    return build_specs(loaded, {component.name: MODEL for component in loaded.spec.models}, services)


def test_an_image_for_each_task_and_for_router_and_page(tmp_path: Path) -> None:
    made = specs(tmp_path, FILE)
    assert [(spec.name, spec.repository, spec.kind, spec.gpu, spec.model is MODEL) for spec in made] == [
        ("task-chat", "my-project/task-chat", "task", False, True),
        ("task-chat-two-deab2870", "my-project/task-chat-two-deab2870", "task", True, True),
        ("router", "my-project/router", "router", False, False),
        ("page", "my-project/page", "page", False, False),
    ]
    assert json.loads(made[0].settings)["model_path"] == "/cache/tiny"


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    assert [spec.name for spec in specs(tmp_path, FILE, "page", "chat")] == ["task-chat", "page"]


def test_a_file_without_a_page_has_no_image_of_one(tmp_path: Path) -> None:
    loaded = load(tmp_path, "controller: {}\ncomponent: {type: model, task: chat-completion, model: acme/tiny}")
    assert services_of(loaded) == ["chat-completion", "router"]


def test_a_prompt_stands_in_no_task_image(tmp_path: Path) -> None:
    text = "component: {type: model, task: chat-completion, model: acme/tiny, messages: {role: user, content: HELLO}}"
    task, router, page = specs(tmp_path, text)
    assert ["HELLO" in spec.settings for spec in (task, router, page)] == [False, True, False]


def test_a_device_that_no_container_has_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        specs(tmp_path, "component:\n  {type: model, task: chat-completion, model: acme/tiny, device: mps}")
    assert (caught.value.message, caught.value.exit_code) == (
        "model-compose.yml:2:66: a container has no `mps`, which is a Mac's own",
        ExitCode.FILE,
    )


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("quickstart", "quickstart"),
        ("My Project (2)", "my-project-2"),
        ("한국어", "model-compose"),
        ("a" * 60, "a" * 40),
        ("x$(reboot)", "x-reboot"),
    ],
)
def test_a_project_is_called_like_its_folder(folder: str, name: str) -> None:
    assert project_name(Path("/home/me", folder)) == name
