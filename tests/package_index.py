"""A private package index on loopback: what is installed here, as wheels again, over TLS and for one user only."""

import base64
import hashlib
import re
import ssl
import threading
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Self

from packaging.utils import canonicalize_name

from tests.http_server import QuietHandler, QuietServer


@dataclass
class PackageIndex:
    """`with PackageIndex(folder, tls, "ann", "s3cret") as index: UV_DEFAULT_INDEX=index.url`

    folder: where wheels are put as they are asked for. admitted: the paths that were answered, in order.
    """

    folder: Path
    tls: ssl.SSLContext
    user: str
    password: str
    admitted: list[str] = field(default_factory=list)
    _making: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server = _Server(_Handler)
        self._server.index = self
        self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.start("index")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """With the login."""
        return f"https://{self.user}:{self.password}@localhost:{self._server.port}/simple"

    @cached_property
    def _installed(self) -> dict[str, Distribution]:
        return {canonicalize_name(found.metadata["Name"]): found for found in distributions()}

    def answer(self, path: str) -> bytes | None:
        """A page that links to a package's wheel, the wheel, or its metadata alone (PEP 658)."""
        place, _, name = path.strip("/").rpartition("/")
        if place == "files":
            return (self.folder / name).read_bytes()
        if name not in self._installed:
            return None
        with self._making:
            wheel = make_wheel(self._installed[name], self.folder)
        wheel.with_name(f"{wheel.name}.metadata").write_text(self._installed[name].read_text("METADATA") or "")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        link = f'<a href="/files/{wheel.name}#sha256={digest}" data-core-metadata="true">{wheel.name}</a>'
        return f"<!doctype html>{link}".encode()


def make_wheel(installed: Distribution, folder: Path) -> Path:
    """Pack what an installation says that it brought; equal installations give equal wheels."""
    tags = re.findall(r"^Tag: (.+)-(.+)-(.+)$", installed.read_text("WHEEL") or "", re.MULTILINE)
    kinds = [".".join(sorted(set(kind))) for kind in zip(*tags, strict=True)]
    name = canonicalize_name(installed.metadata["Name"]).replace("-", "_")
    wheel = folder / f"{name}-{installed.version}-{'-'.join(kinds)}.whl"
    if not wheel.exists():
        with zipfile.ZipFile(wheel, "w") as archive:
            for file in sorted(installed.files or [], key=str):
                if ".." not in file.parts and file.suffix != ".pyc":
                    entry = zipfile.ZipInfo(str(file))
                    archive.writestr(entry, Path(str(file.locate())).read_bytes())
    return wheel


class _Server(QuietServer):
    index: PackageIndex


class _Handler(QuietHandler):
    server: _Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        index = self.server.index
        login = base64.b64encode(f"{index.user}:{index.password}".encode()).decode()
        if self.headers["Authorization"] != f"Basic {login}":
            self._send(401, b"")
            return
        content = index.answer(self.path)
        if content is None:
            self._send(404, b"")
            return
        index.admitted.append(self.path)
        self._send(200, content)

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="an index"')
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)
