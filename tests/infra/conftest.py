from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.folder import RunFolder
from infra.net import make_socket_directory
from tests.infra.rig import Recorder, Run


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    folder = RunFolder(tmp_path / ".model-compose")
    folder.make()
    sockets = make_socket_directory()
    yield Run(folder, sockets)
    for path in sockets.iterdir():
        path.unlink()
    sockets.rmdir()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
