"""Tiny wheels made by hand, and requirements that name them."""

import base64
import hashlib
import http.server
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from builders.images.layout import Platform
from builders.packages import compiling, wanted
from builders.packages.wanted import Wanted

ROUTER = Wanted("router", "3.11", Platform())
TASK = Wanted("task", "3.11", Platform())
TASK_GPU = Wanted("task", "3.11", Platform(), gpu=True)


def make_wheel(
    folder: Path, name: str, version: str, files: Mapping[str, str] | None = None, requires: str | None = None
) -> Path:
    """A wheel for any Python, of these files or of one module; with a script of its own."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **(files if files is not None else {f"{name}/__init__.py": f"VERSION = {version!r}\n"}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    rows = [f"{path},sha256={_hash(text)},{len(text)}" for path, text in contents.items()]
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(zipfile.ZipInfo(path), text)
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "\n".join([*rows, f"{info}/RECORD,,", ""]))
    return wheel


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of requirement files that stands for ours: a router needs `snail`, a task `torch`."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    (folder / "router.txt").write_text("snail>=1\n")
    (folder / "tasks.txt").write_text("torch>=2\n")
    (folder / "page.txt").write_text("page\n")
    (folder / "constraints.txt").write_text("snail==1.5\nshell==2.0\ntorch==2.13.0\n")
    monkeypatch.setattr(wanted, "_REQUIREMENTS", folder)
    return folder


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A snail that needs a shell, each in two versions."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "snail", "1.5", SNAIL, requires="shell")
    make_wheel(folder, "snail", "1.6", SNAIL, requires="shell")
    make_wheel(folder, "shell", "2.0")
    make_wheel(folder, "shell", "3.0")
    return folder


@pytest.fixture
def guarded(wheels: Path) -> Iterator[str]:
    """The address, with user name and password, of an index that serves the wheels to nobody else."""

    class Guarded(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["Authorization"] != f"Basic {base64.b64encode(f'user:{PASSWORD}'.encode()).decode()}":
                self.send_response(401)
                self.end_headers()
            elif self.path.endswith(".whl"):
                self._send((wheels / self.path.rpartition("/")[2]).read_bytes())
            else:
                name = self.path.strip("/").rpartition("/")[2]
                links = (f'<a href="/{path.name}">{path.name}</a>' for path in wheels.glob(f"{name}-*"))
                self._send("\n".join(links).encode())

        def _send(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://user:{PASSWORD}@127.0.0.1:{server.server_port}/simple"
        server.shutdown()


PASSWORD = "sentinel-of-the-index"

SNAIL = {
    "snail/__init__.py": "from pathlib import Path\nimport shell\nfrom snail.fast import go\n"
    "Path(__file__).with_name('seed.txt').write_text(__import__('uuid').uuid4().hex)\n",
    "snail/fast.py": "def go(where):\n    return lambda: where in {'left', 'right', 'a b'}\n",
    "snail/never.py": "raise RuntimeError\n",
    "snail/tests/test_snail.py": "",
    "snail/include/snail.h": "",
}


@pytest.fixture
def smoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A router's smoke run that imports snail."""
    folder = tmp_path / "smoke"
    folder.mkdir()
    (folder / "router.py").write_text("import snail\nprint('hello')\n")
    monkeypatch.setattr(compiling, "_SMOKE", folder)
    return folder


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Without anything that this machine says of indexes, and a cache of its own."""
    return {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "UV_CACHE_DIR": str(tmp_path / "uv"),
    }
