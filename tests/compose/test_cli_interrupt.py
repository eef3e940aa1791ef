"""A command that is told to end while it waits for the hub ends at once and leaves nothing half done."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.rig import CHECKOUT

pytestmark = pytest.mark.server


@pytest.fixture
def silent_hub() -> Iterator[socket.socket]:
    """Takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


@pytest.fixture
def temporary() -> Iterator[Path]:
    """An empty folder with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    ("arguments", "number", "code"),
    [
        (("up",), signal.SIGINT, 0),
        (("up",), signal.SIGTERM, 0),
        (("up", "--detach"), signal.SIGINT, 130),
        (("plan",), signal.SIGINT, 130),
        (("run", "-i", "user_prompt=Hello"), signal.SIGINT, 130),
        (("run", "-i", "user_prompt=Hello"), signal.SIGTERM, 130),
    ],
)
def test_a_look_up_is_given_up_at_once(
    silent_hub: socket.socket,
    temporary: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    number: signal.Signals,
    code: int,
) -> None:
    (tmp_path / "model-compose.yml").write_text("component: {type: model, task: chat-completion, model: acme/tiny}\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "HF_ENDPOINT": f"http://127.0.0.1:{silent_hub.getsockname()[1]}",
        "HF_HOME": str(tmp_path / "hf"),
        "TMPDIR": str(temporary),
        "XDG_RUNTIME_DIR": str(temporary),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "compose", *arguments],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        connection, _ = silent_hub.accept()
        with connection:
            command.send_signal(number)
            out, err = command.communicate(timeout=8)
    assert (command.returncode, out, err.strip()) == (code, "", "")
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / ".model-compose/state.json").exists()
    assert not (tmp_path / "hf").exists()
