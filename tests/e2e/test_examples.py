"""The documented examples in containers: built, tried, started by the README's words, asked, seen, ended."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.docker.container import project_id
from infra.docker.engine import PROJECT_LABEL, Engine
from tests.docker.fake_image import remove_volumes
from tests.e2e.documents import Reader, programs
from tests.e2e.project import Project
from tests.e2e.test_documents import CONTAINERS
from tests.ui.browser import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600), pytest.mark.usefixtures("default_ports")]


@pytest.fixture
def example(
    request: pytest.FixtureRequest, checkout: Path, environment: dict[str, str], engine: str, docker: Engine
) -> Iterator[Project]:
    """The folder of one in the checkout, whose images and containers are in the engine."""
    environment["DOCKER_HOST"] = engine
    environment["MODEL_COMPOSE_CACHE"] = str(request.config.cache.mkdir("images"))
    project = Project(checkout / "examples" / "model-tasks" / request.param, environment, 8080, 8081)
    yield project
    project.command("down")
    remove_volumes(docker, project.folder)


def left_in(docker: Engine, folder: Path) -> tuple[list[str], list[str]]:
    """The containers of a project, and its networks."""
    project = project_id(folder)
    networks = docker.client.networks(filters={"label": f"{PROJECT_LABEL}={project}"})
    return [found.service for found in docker.containers(project)], [network["Name"] for network in networks]


@pytest.mark.parametrize(
    ("example", "heading", "fields"),
    [
        (
            "chat-completion",
            "Generate Chat Messages",
            {
                "System prompt": "You are a helpful AI assistant.",
                "User prompt *": "Explain quantum computing in simple terms.",
            },
        ),
        ("text-generation", "Generate Text from Prompt", {"Prompt *": "Once upon a time in a distant galaxy"}),
    ],
    indirect=["example"],
)
def test_a_documented_example_works_in_containers(
    example: Project,
    heading: str,
    fields: dict[str, str],
    base_tar: Path,
    docker: Engine,
    visit: Callable[[], Visitor],
    picture: "Callable[[Page, str], None]",
    tmp_path: Path,
) -> None:
    from playwright.sync_api import expect

    name = example.folder.name
    built = example.command("build", "--base", f"tar:{base_tar}", timeout_s=300)
    assert built.returncode == 0, built.stderr
    digests = re.findall(r"^\S+:latest .* sha256:(\S+)$", built.stdout, re.MULTILINE)
    proven = Path(example.environment["MODEL_COMPOSE_CACHE"], "images", "proven")
    assert [(proven / digest).exists() for digest in digests] == [True] * 3, built.stdout

    document = programs(example.folder / "README.md")
    (start,) = (block for block in document if block.section == CONTAINERS)
    (ask,) = (block for block in document if block.text.startswith("curl "))
    with Reader(example.folder, example.environment, tmp_path / "up.log") as reader:
        table = reader.run(start)
        answer = json.loads(reader.run(ask))
    assert "http://127.0.0.1:8081" in table
    assert answer["status"] == "completed"
    prompt = fields.get("Prompt *", "")
    assert answer["output"]["generated"].startswith(prompt)
    assert len(answer["output"]["generated"]) > len(prompt)

    page = visit().open("http://localhost:8081")
    expect(page.get_by_role("heading", name=heading)).to_be_visible()
    for label, text in fields.items():
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name="Run Workflow").click()
    expect(page.get_by_text(re.compile(r"^Done in .* tokens"))).to_be_visible()
    expect(page.locator(".output textarea").first).to_have_value(re.compile(f"^{prompt}.+", re.DOTALL))
    picture(page, f"containers-{name}")

    states = {each["name"]: each["state"] for each in json.loads(example.command("ps", "--json").stdout)["services"]}
    assert set(states.values()) == {"ready"}
    assert {line.split(" ")[0] for line in example.command("logs").stdout.splitlines()} >= set(states) - {"page"}
    assert sorted(left_in(docker, example.folder)[0]) == sorted(states)
    assert example.command("down").returncode == 0
    assert left_in(docker, example.folder) == ([], [])
