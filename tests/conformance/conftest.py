"""The same project with the same fake services in every runtime."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.docker.engine import connect
from tests.conformance.folder import Folder
from tests.docker.fake_image import make_fake_image

RUNTIMES = [pytest.param("process", marks=pytest.mark.server), pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture(scope="session")
def fake_image(engine: str, base_image: str) -> str:
    with contextlib.closing(connect({"DOCKER_HOST": engine})) as connected:
        return make_fake_image(connected, base_image, "model-compose-test-fake:latest")


@pytest.fixture(params=RUNTIMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """A project; what its `up`s leave behind is taken down after the test."""
    runtime: str = request.param
    image = request.getfixturevalue("fake_image") if runtime == "docker" else "-"
    with contextlib.ExitStack() as stack:
        yield Folder(tmp_path / "project", runtime, image, stack)
