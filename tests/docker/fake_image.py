"""An image of the fake unit: what a container of ours is, without a model."""

import contextlib
import io
import tarfile
from pathlib import Path

from docker.errors import NotFound

from infra.docker.container import project_id
from infra.docker.engine import Engine

_CHECKOUT = Path(__file__).parents[2]
_FILES = (
    "services/__init__.py",
    "services/process.py",
    "services/healthcheck.py",
    "tests/__init__.py",
    "tests/infra/__init__.py",
    "tests/infra/fake_container.py",
    "tests/infra/fake_unit.py",
)
_DOCKERFILE = """
FROM {base}
COPY . /code
RUN ["python3", "-c", "import os; os.mkdir('/var/lib/model-compose'); os.chmod('/var/lib/model-compose', 0o1777)"]
ENV PYTHONPATH=/code PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
ENTRYPOINT ["python3", "-P", "-m", "tests.infra.fake_container"]
"""


def make_fake_image(engine: Engine, base: str, name: str) -> str:
    """The image's name in the engine, where it replaces an older one."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for file in _FILES:
            tar.add(_CHECKOUT / file, file)
        dockerfile = _DOCKERFILE.format(base=base).encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        tar.addfile(entry, io.BytesIO(dockerfile))
    context.seek(0)
    answers = list(engine.client.build(fileobj=context, custom_context=True, tag=name, rm=True, decode=True))
    assert not [answer for answer in answers if "error" in answer], answers
    return name


def remove_volumes(engine: Engine, project: Path) -> None:
    """What `down` keeps of the project in a folder."""
    with contextlib.suppress(NotFound):  # no router has run
        engine.client.remove_volume(f"{project_id(project)}-runs")
