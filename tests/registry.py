"""An image registry on loopback that keeps everything in memory, counts what is sent, and fails on purpose."""

import base64
import hashlib
import json
import re
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

from tests.http_server import QuietHandler, QuietServer

USER, PASSWORD = "ann", "s3cret-Pa55word"
IDENTITY_TOKEN = "eyJhbGciOi.an-identity-token"
"""What a token service takes for a password, as OAuth 2 has it."""

Auth = Literal["none", "basic", "token"]


@dataclass(slots=True)
class Fault:
    """What goes wrong with requests of `method` to a path and query like `path`, `times` times or always.

    status: this answer, with `headers` and `body`; 0: the connection ends without one, after half of the body came or
    half of the answer went. changed: the right number of bytes, but other ones. hangs: no answer at all.
    """

    method: str
    path: str = "*"
    times: int | None = None
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    changed: bool = False
    hangs: bool = False

    def strikes(self, method: str, path: str) -> bool:
        """Whether it happens now; counts."""
        if self.times == 0 or method != self.method or not fnmatch(path, self.path):
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for. body_bytes: how much it sent. proof: its `Authorization`, or its identity token."""

    method: str
    path: str
    body_bytes: int
    range: str | None
    admitted: bool
    proof: str = ""


@dataclass
class FakeRegistry:
    """`with FakeRegistry(auth="token") as registry: push to registry.name`.

    tokens_last: how many requests each token is good for. open_to_read: whoever has no login may pull all the same.
    mounts: whether it knows mounting. resumes: whether it can begin a blob in the middle. tls: its side of TLS.
    """

    auth: Auth = "none"
    faults: list[Fault] = field(default_factory=list)
    tokens_last: int = 1000
    open_to_read: bool = False
    mounts: bool = True
    resumes: bool = True
    tls: ssl.SSLContext | None = None
    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """By repository and digest."""
    manifests: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)
    """By repository and then by tag or digest: media type and content."""
    requests: list[Request] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    """Set once a request hangs."""
    _released: threading.Event = field(default_factory=threading.Event)

    def hang(self) -> None:
        """Keep a client waiting as long as the registry runs."""
        self.hanging.set()
        self._released.wait()

    def __enter__(self) -> Self:
        self._server = _Server(_Handler)
        self._server.registry = self
        self._server.tokens = {}
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._server.start("registry")
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.stop()

    @property
    def name(self) -> str:
        """As it stands in references."""
        return f"localhost:{self._server.port}"

    def asked(self, method: str, path: str = "*") -> list[Request]:
        """The admitted requests of that kind, in order."""
        return [r for r in self.requests if r.admitted and r.method == method and fnmatch(r.path, path)]

    @property
    def sent_bytes(self) -> int:
        """All that came in bodies to be stored as blobs."""
        return sum(request.body_bytes for request in self.requests if "/blobs/" in request.path)


class _Server(QuietServer):
    registry: FakeRegistry
    tokens: dict[str, "_Token"]


_PATH = re.compile(r"/v2/(?P<repository>.+?)/(?P<kind>blobs/uploads|blobs|manifests)/(?P<what>[^/]*)")


class _Handler(QuietHandler):
    server: _Server

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def _route(self) -> None:
        registry = self.server.registry
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.fault = next((f for f in registry.faults if f.strikes(self.command, self.path)), None)
        length = int(self.headers.get("Content-Length", 0))
        if self.fault is not None and self.fault.hangs:
            registry.hang()
        cut = self.fault is not None and not self.fault.status and not self.fault.changed and length > 0
        body = self.rfile.read(length // 2 if cut else length)
        match = _PATH.fullmatch(parts.path)
        admitted = parts.path == "/token" or self._admitted(match["repository"] if match else "")
        form = body.decode() if self.headers.get("Content-Type") == "application/x-www-form-urlencoded" else ""
        self.form = {name: values[0] for name, values in parse_qs(form).items()}
        proof = self.headers.get("Authorization", "") + self.form.get("refresh_token", "")
        asked = Request(self.command, parts.path, len(body), self.headers.get("Range"), admitted, proof)
        registry.requests.append(asked)
        if cut or (self.fault and not self.fault.status and not self.fault.changed and self.command != "GET"):
            self.close_connection = True
        elif self.fault is not None and self.fault.status:
            self._answer(self.fault.status, self.fault.body, self.fault.headers)
        elif parts.path == "/token":
            self._token()
        elif not admitted:
            self._challenge(match["repository"] if match else "")
        elif parts.path == "/v2/":
            self._answer(200, b"{}")
        elif match is None:
            self._refuse(404, "NAME_INVALID")
        else:
            self._about(match["repository"], match["kind"], match["what"], body)

    def _about(self, repository: str, kind: str, what: str, body: bytes) -> None:
        if kind == "manifests":
            self._manifest(self.server.registry.manifests.setdefault(repository, {}), what, body)
            return
        blobs = self.server.registry.blobs.setdefault(repository, {})
        match self.command, kind:
            case "POST", "blobs/uploads":
                self._upload(repository, blobs)
            case "PUT", "blobs/uploads":
                digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
                if digest == self.query["digest"] and self.query["state"] == "a+b":
                    blobs[digest] = body
                    self._answer(201)
                else:
                    self._refuse(400, "DIGEST_INVALID")
            case (("HEAD" | "GET"), "blobs") if what in blobs:
                self._blob(blobs[what])
            case _:
                self._refuse(404, "BLOB_UNKNOWN")

    def _upload(self, repository: str, blobs: dict[str, bytes]) -> None:
        registry = self.server.registry
        source = registry.blobs.get(self.query.get("from", ""), {})
        digest = self.query.get("mount", "")
        if registry.mounts and digest in source:
            blobs[digest] = source[digest]
            self._answer(201)
        else:
            self._answer(202, headers={"Location": f"/v2/{repository}/blobs/uploads/1?state=a%2Bb"})

    def _manifest(self, manifests: dict[str, tuple[str, bytes]], what: str, body: bytes) -> None:
        if self.command == "PUT":
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            manifests[what] = manifests[digest] = (self.headers["Content-Type"], body)
            self._answer(201, headers={"Docker-Content-Digest": digest})
        elif what in manifests:
            media_type, content = manifests[what]
            self._answer(200, content, {"Content-Type": media_type})
        else:
            self._refuse(404, "MANIFEST_UNKNOWN")

    def _blob(self, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.server.registry.resumes else 0
        rest = content[start:]
        if self.fault is not None and self.fault.changed:
            rest = bytes(byte ^ 1 for byte in rest)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.command == "GET":
            cut = self.fault is not None and not self.fault.changed
            self.wfile.write(rest[: len(rest) // 2] if cut else rest)
            self.close_connection = self.close_connection or cut

    def _admitted(self, repository: str) -> bool:
        registry = self.server.registry
        scheme, _, proof = self.headers.get("Authorization", "").partition(" ")
        if registry.auth == "basic":
            return scheme == "Basic" and proof == base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if registry.auth == "token":
            token = self.server.tokens.get(proof) if scheme == "Bearer" else None
            if token is None or token.uses_left == 0:
                return False
            token.uses_left -= 1
            return self._needed(repository) <= token.rights
        return True

    def _needed(self, repository: str) -> set[str]:
        """What a token must allow for this request: `REPOSITORY:ACTION`."""
        if not repository:
            return set()
        actions = ("pull",) if self.command in ("HEAD", "GET") else ("pull", "push")
        source = {f"{self.query['from']}:pull"} if "from" in self.query else set()
        return {f"{repository}:{action}" for action in actions} | source

    def _challenge(self, repository: str) -> None:
        if self.server.registry.auth == "basic":
            challenge = 'Basic realm="a registry"'
        else:
            scope = " ".join(f"repository:{right}" for right in sorted(self._needed(repository)))
            challenge = f'Bearer realm="http://{self.headers["Host"]}/token",service="a registry"'
            challenge += f',scope="{scope}"' if scope else ""
        self._refuse(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})

    def _token(self) -> None:
        proof = self.headers.get("Authorization", "").removeprefix("Basic ")
        known = proof == base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.form:
            known = self.form["grant_type"] == "refresh_token" and self.form["refresh_token"] == IDENTITY_TOKEN
            if not known:
                self._answer(400, b'{"error": "invalid_grant"}', {"Content-Type": "application/json"})
                return
        if not known and (proof or not self.server.registry.open_to_read):
            self._refuse(401, "UNAUTHORIZED")
            return
        name = f"token-{len(self.server.tokens)}"
        scopes = (self.form or self.query).get("scope", "").split()
        asked = {scope.removeprefix("repository:") for scope in scopes}
        rights = {right for right in asked if known or right.endswith(":pull")}
        self.server.tokens[name] = _Token(rights, self.server.registry.tokens_last)
        self._answer(
            200,
            json.dumps({"access_token" if self.form else "token": name}).encode(),
            {"Content-Type": "application/json"},
        )

    def _refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": "as a registry words it"}]}).encode()
        self._answer(status, body, {"Content-Type": "application/json", **(headers or {})})

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@dataclass(slots=True)
class _Token:
    """What a client may do, and how often."""

    rights: set[str]
    uses_left: int
