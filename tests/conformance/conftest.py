"""The same project in every runtime: over fake services, and with the real ones."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.folder import Folder
from tests.conformance.served import TOKEN, ZONE, Served, write
from tests.docker.fake_image import remove_volumes
from tests.docker.product import build
from tests.e2e.project import Project
from tests.net import free_port

RUNTIMES = [pytest.param("process", marks=pytest.mark.server), pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture(params=RUNTIMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """A project over fakes; what its `up`s leave behind is taken down after the test."""
    runtime: str = request.param
    image = request.getfixturevalue("fake_image") if runtime == "docker" else "-"
    with contextlib.ExitStack() as stack:
        made = Folder(tmp_path / "project", runtime, image, stack)
        if runtime == "docker":
            stack.callback(remove_volumes, request.getfixturevalue("docker"), made.path)
        yield made


@pytest.fixture(scope="session", params=RUNTIMES)
def served(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A project with its real services, started once for all tests; each leaves it as it was."""
    runtime: str = request.param
    folder = tmp_path_factory.mktemp("served")
    own = {"API_TOKEN": TOKEN, "MODEL_COMPOSE_RUNTIME": runtime, "NO_COLOR": "1", "TZ": ZONE}
    environment = {**os.environ, **own}
    with contextlib.ExitStack() as stack:
        if runtime == "docker":
            environment["DOCKER_HOST"] = request.getfixturevalue("engine")
            environment["MODEL_COMPOSE_BASE"] = str(request.getfixturevalue("base_tar"))
            environment["MODEL_COMPOSE_CACHE"] = str(pytestconfig.cache.mkdir("images"))
            stack.callback(remove_volumes, request.getfixturevalue("docker"), folder)
        project = Project(folder, environment, free_port(), free_port())
        write(project)
        if runtime == "docker":
            build(folder, environment, "--no-verify")
        stack.enter_context(project.running())
        yield Served(project, stack)
