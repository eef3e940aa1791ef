"""A model hub on loopback, for HF_ENDPOINT: serves folders under real names and fails on purpose."""

import array
import fcntl
import hashlib
import json
import os
import re
import socket
import struct
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

from tests.http_server import QuietHandler, QuietServer

TOKEN = "hf_tokenForTheFakeHub"
"""The token that opens private and gated repositories."""

CDN = "localhost"
"""Where large files are redirected to: the same server under another name."""

Kind = Literal["private", "gated", "status", "cut", "reset", "wrong-hash", "slow", "huge"]


@dataclass(slots=True)
class Fault:
    """What goes wrong with one repository.

    private: 401 without TOKEN, as the hub says for what does not exist.
    gated: the listing is open, every file is 401 without a token and 403 with another one than TOKEN.
    status: `status` instead of an answer, with `Retry-After: 0`, for API and files.
    cut: the connection ends after 60 % of the bytes asked for. reset: the same, with a TCP reset.
    wrong-hash: bytes of the right number and the wrong content.
    slow: `bytes_per_s`.
    huge: the listing claims a petabyte.
    times: how often it happens before all is well; None: always.
    path: the files that it happens to.
    """

    kind: Kind
    times: int | None = None
    path: str = "*"
    status: int = 503
    bytes_per_s: int = 1_000_000

    def strikes(self, path: str) -> bool:
        """Whether it happens now; counts."""
        if self.times == 0 or not fnmatch(path, self.path):
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for. `token` is what came as `Authorization: Bearer`."""

    method: str
    path: str
    token: str | None
    range: str | None
    host: str = ""


@dataclass(frozen=True)
class Repository:
    """A folder as the hub sees it: one commit, large files in LFS."""

    name: str
    folder: Path

    @cached_property
    def files(self) -> dict[str, bytes]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths}

    @cached_property
    def commit(self) -> str:
        digest = hashlib.sha1(self.name.encode(), usedforsecurity=False)
        for name, content in self.files.items():
            digest.update(f"{name} {self.etag(name)} {len(content)}\n".encode())
        return digest.hexdigest()

    def is_large(self, name: str) -> bool:
        return name.endswith((".safetensors", ".bin", ".onnx", ".h5", ".msgpack", ".gguf", ".model", ".pt", ".pkl"))

    def etag(self, name: str) -> str:
        content = self.files[name]
        if self.is_large(name):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class FakeHub:
    """`with FakeHub({"HuggingFaceTB/SmolLM3-3B": folder}, faults={"HuggingFaceTB/SmolLM3-3B": Fault("cut")}) as hub:`

    hub.url: for HF_ENDPOINT. hub.requests: everything asked so far, in order.
    cdn: large files are redirected to another host, as the real hub does.
    """

    folders: Mapping[str, Path]
    faults: Mapping[str, Fault] = field(default_factory=dict)
    cdn: bool = False
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.repositories = {name: Repository(name, folder) for name, folder in self.folders.items()}
        self._server = _Server(_Handler)
        self._server.hub = self
        self._server.start("fake-hub")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def commit(self, name: str) -> str:
        """The only commit of repository `name`."""
        return self.repositories[name].commit

    def files_sent(self) -> list[str]:
        """Names of the files whose bytes were asked for, sorted, each once."""
        paths = {request.path for request in self.requests if request.method == "GET" and "/resolve/" in request.path}
        return sorted(path.split("/resolve/")[1].split("/", 1)[1] for path in paths)


class _Server(QuietServer):
    hub: FakeHub


_API = re.compile(r"/api/models/(?P<name>.+?)(?:/(?P<what>revision|tree)/(?P<revision>[^/]+))?")
_FILE = re.compile(r"/(?P<name>.+?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


class _Handler(QuietHandler):
    server: _Server

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        self.token = token if scheme == "Bearer" else None
        self.server.hub.requests.append(
            Request(self.command, path, self.token, self.headers.get("Range"), self.headers.get("Host", ""))
        )
        if match := _API.fullmatch(path):
            self._with_repository(match["name"], match["revision"] or "main", "", match["what"] or "revision")
        elif match := _FILE.fullmatch(path):
            self._with_repository(match["name"], match["revision"], match["path"], "file")
        else:
            self._refuse(404, None, "Not Found")

    def _with_repository(self, name: str, revision: str, path: str, what: str) -> None:
        hub = self.server.hub
        fault = hub.faults.get(name)
        repository = hub.repositories.get(name)
        # A redirection to the other host carries its own permission.
        admitted = self.token == TOKEN or self._host()[0] == CDN
        if repository is None or (fault and fault.kind == "private" and not admitted):
            # The hub hides what exists: without a token everything unknown is 401.
            self._refuse(401 if self.token is None else 404, "RepoNotFound", "Repository not found")
        elif fault and fault.kind == "gated" and what == "file" and not admitted:
            self._refuse(403 if self.token else 401, "GatedRepo", f"Access to model {name} is restricted.")
        elif fault and fault.kind == "status" and fault.strikes(path):
            self._refuse(fault.status, None, "Try again", {"Retry-After": "0"})
        elif revision not in ("main", repository.commit):
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif what == "revision":
            self._json(_info(repository, huge=fault is not None and fault.kind == "huge"))
        elif what == "tree":
            self._json(list(_tree(repository)))
        elif path not in repository.files:
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": repository.commit})
        else:
            self._file(repository, path, fault)

    def _file(self, repository: Repository, path: str, fault: Fault | None) -> None:
        content = repository.files[path]
        if fault and fault.kind == "wrong-hash" and self.command == "GET" and fault.strikes(path):
            content = bytes(byte ^ 1 for byte in content)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        body = content[start : int(asked[2]) + 1 if asked and asked[2] else None]
        host, port = self._host()
        redirected = self.server.hub.cdn and repository.is_large(path) and host != CDN
        self.send_response(302 if redirected else 206 if asked else 200)
        if redirected:
            self.send_header("Location", f"http://{CDN}:{port}{self.path}")
            body = b""
        elif asked:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(content)}")
        self.send_header("ETag", f'"{repository.etag(path)}"')
        if repository.is_large(path):
            self.send_header("X-Linked-Etag", f'"{repository.etag(path)}"')
            self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Repo-Commit", repository.commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET" and not redirected:
            self._send_body(body, fault, path)

    def _host(self) -> tuple[str, str]:
        host, _, port = self.headers.get("Host", "").partition(":")
        return host, port

    def _send_body(self, body: bytes, fault: Fault | None, path: str) -> None:
        if fault and fault.kind in ("cut", "reset") and fault.strikes(path):
            self.wfile.write(body[: len(body) * 6 // 10])
            if fault.kind == "reset":
                self._reset()
            self.close_connection = True
        elif fault and fault.kind == "slow" and fault.strikes(path):
            step = max(1, fault.bytes_per_s // 50)
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                time.sleep(step / fault.bytes_per_s)
        else:
            self.wfile.write(body)

    def _reset(self) -> None:
        """End the connection with a reset, once the other side's kernel has what was sent."""
        unsent = array.array("i", [1])
        while sys.platform == "linux" and unsent[0]:
            fcntl.ioctl(self.connection, termios.TIOCOUTQ, unsent)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def _json(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        if code is not None:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _info(repository: Repository, *, huge: bool) -> dict[str, Any]:
    """`GET /api/models/NAME/revision/REVISION?blobs=true`."""
    siblings = []
    for name, content in repository.files.items():
        size = 10**15 if huge and repository.is_large(name) else len(content)
        sibling: dict[str, Any] = {"rfilename": name, "size": size, "blobId": repository.etag(name)[:40]}
        if repository.is_large(name):
            sibling["lfs"] = {"sha256": repository.etag(name), "size": size, "pointerSize": 134}
        siblings.append(sibling)
    return {"id": repository.name, "sha": repository.commit, "private": False, "siblings": siblings}


def _tree(repository: Repository) -> Iterator[dict[str, Any]]:
    """`GET /api/models/NAME/tree/REVISION?recursive=true`."""
    for name, content in repository.files.items():
        entry: dict[str, Any] = {
            "type": "file",
            "path": name,
            "size": len(content),
            "oid": repository.etag(name)[:40],
        }
        if repository.is_large(name):
            entry["lfs"] = {"oid": repository.etag(name), "size": len(content), "pointerSize": 134}
        yield entry
