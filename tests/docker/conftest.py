"""What tests of containers share: one engine."""

import os
from collections.abc import Iterator

import pytest

from tests.docker.engine import docker_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """The address of a real Docker engine, which `DOCKER_HOST` names for the commands under test too."""
    with docker_engine() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", address)
        yield address
