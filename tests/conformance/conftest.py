"""The same project with the same fake services in every runtime."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.folder import Folder
from tests.docker.fake_image import remove_volumes

RUNTIMES = [pytest.param("process", marks=pytest.mark.server), pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture(params=RUNTIMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """A project; what its `up`s leave behind is taken down after the test."""
    runtime: str = request.param
    image = request.getfixturevalue("fake_image") if runtime == "docker" else "-"
    with contextlib.ExitStack() as stack:
        made = Folder(tmp_path / "project", runtime, image, stack)
        if runtime == "docker":
            stack.callback(remove_volumes, request.getfixturevalue("docker"), made.path)
        yield made
