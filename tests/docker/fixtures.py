"""What tests of containers share: one engine, and one base image in it."""

import contextlib
import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.docker.engine import Engine, connect
from tests.docker.engine import docker_engine
from tests.docker.fake_image import make_fake_image
from tests.docker.product import Product, make_product
from tests.skipping import skip

_MADE_BY = Path(__file__).parents[2] / "infra" / "base"


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """The address of a real Docker engine, which `DOCKER_HOST` names for the commands under test too."""
    with docker_engine() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", address)
        yield address


@pytest.fixture(scope="session")
def base_tar(pytestconfig: pytest.Config) -> Path:
    """The small base image as a root archive, made once for each version of what makes it."""
    makers = b"".join(path.read_bytes() for path in sorted(_MADE_BY.glob("*.py")))
    folder = pytestconfig.cache.mkdir("base-image")
    archive = folder / f"{hashlib.sha256(makers).hexdigest()[:16]}.tar"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            command = [sys.executable, "-P", "-m", "infra.base", str(archive)]
            made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
            if made.returncode:
                skip(f"no base image: {made.stderr.strip()}")
    return archive


@pytest.fixture(scope="session")
def base_image(engine: str, base_tar: Path) -> str:
    """The name of the base image in the engine."""
    name = f"model-compose-test-base:{base_tar.stem}"
    known = subprocess.run(["docker", "image", "inspect", name], check=False, capture_output=True, timeout=60)
    if known.returncode:
        subprocess.run(["docker", "import", base_tar, name], check=True, capture_output=True, timeout=60)
    return name


@pytest.fixture(scope="session")
def docker(engine: str) -> Iterator[Engine]:
    """The engine, as our own code talks to it."""
    with contextlib.closing(connect({"DOCKER_HOST": engine})) as connected:
        yield connected


@pytest.fixture(scope="session")
def fake_image(docker: Engine, base_image: str) -> str:
    """The name of an image of the tests' fake unit."""
    return make_fake_image(docker, base_image, "model-compose-test-fake:latest")


@pytest.fixture(scope="session")
def product(
    engine: str, base_tar: Path, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Product:
    """A project whose images the engine has, made once for all processes of this session.

    The layers of packages are kept from one session to the next.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "product"
    cache = pytestconfig.cache.mkdir("images")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return make_product(folder, base_tar, cache, engine)
