"""A real image registry on loopback: Debian's docker-registry, with a folder of its own."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.docker.tokens import TokenService
from tests.net import free_port
from tests.skipping import skip

USER, PASSWORD = "ann", "s3cret-Pa55word"
_USERS = f"{USER}:$2y$05$abcdefghijklmnopqrstuukgrwhJVWSn5QgrHwRz9RJqqZge4C1eO\n"
_START_S = 30.0
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: false}}}}
storage: {{filesystem: {{rootdirectory: {store}}}, maintenance: {{readonly: {{enabled: {read_only}}}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True, slots=True)
class RealRegistry:
    """name: as it stands in references. log: a line for each request that it answered."""

    name: str
    log: Path

    def answered(self, method: str) -> list[tuple[str, int]]:
        """Path and status of each request of that method, in order."""
        found = re.findall(rf'"{method} (\S+) HTTP/1.1" (\d+)', self.log.read_text())
        return [(path, int(status)) for path, status in found]


@contextmanager
def real_registry(
    folder: Path,
    *,
    with_users: bool = False,
    tokens: TokenService | None = None,
    read_only: bool = False,
    inside: Sequence[str] = (),
) -> Iterator[RealRegistry]:
    """A registry that keeps everything in `folder`.

    with_users: it wants the login of USER. tokens: or what that service gives. inside: a command that it is started by.
    """
    program = shutil.which("docker-registry")
    if program is None:
        skip("no docker-registry; run: infra/engine/engine install")
    port = free_port()
    text = _CONFIG.format(store=folder / "store", port=port, read_only=str(read_only).lower())
    if tokens is not None:
        text += tokens.config(folder)
    if with_users:
        (folder / "users").write_text(_USERS)
        text += f"auth: {{htpasswd: {{realm: tests, path: {folder / 'users'}}}}}\n"
    (folder / "config.yml").write_text(text)
    with (folder / "log").open("w") as log:
        command = [*inside, program, "serve", str(folder / "config.yml")]
        with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as running:
            try:
                _wait_until_it_listens(port, running)
                yield RealRegistry(f"localhost:{port}", folder / "log")
            finally:
                running.terminate()


def _wait_until_it_listens(port: int, running: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert running.poll() is None, "the registry ended"
            assert time.monotonic() < deadline, "the registry does not listen"
            time.sleep(0.02)
        else:
            return
