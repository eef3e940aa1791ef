"""A token service for a real registry: signed tokens, as the registry's documents have them, for one user."""

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.registry import IDENTITY_TOKEN, PASSWORD, USER

SERVICE, ISSUER = "a registry", "tests"
ALLOWED = "team/"
"""What the names of the repositories begin with in which the user may do everything."""


@dataclass
class TokenService:
    """url: where tokens are had. asked: how each was asked for, such as `password` or `refresh_token`."""

    url: str
    authority: trustme.CA = field(default_factory=trustme.CA)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        certificate = self.authority.issue_cert(ISSUER)
        key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._certificate = "".join(certificate.cert_chain_pems[0].bytes().decode().split("-----")[2].split())

    def config(self, folder: Path) -> str:
        """The lines of the registry's configuration."""
        self.authority.cert_pem.write_to_path(folder / "authority.pem")
        place = f"rootcertbundle: {folder / 'authority.pem'}"
        return f'auth: {{token: {{realm: "{self.url}", service: {SERVICE}, issuer: {ISSUER}, {place}}}}}\n'

    def token(self, scopes: list[str]) -> str:
        """For what of `repository:NAME:ACTION,...` is allowed."""
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if name.startswith(ALLOWED) else []
            access.append({"type": kind, "name": name, "actions": allowed})
        claims = {"iss": ISSUER, "sub": USER, "aud": SERVICE, "jti": token_hex(), "access": access}
        header = {"typ": "JWT", "alg": "ES256", "x5c": [self._certificate]}
        text = ".".join(
            _encoded(json.dumps(part).encode())
            for part in (header, {**claims, "iat": now, "nbf": now - 60, "exp": now + 300})
        )
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@contextmanager
def token_service() -> Iterator[TokenService]:
    """It runs within."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """The tests' own output stays readable."""

        def do_GET(self) -> None:
            login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            known = self.headers["Authorization"] == f"Basic {login}"
            self._answer("password", parse_qs(urlsplit(self.path).query), "token", known=known)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            known = form["refresh_token"] == [IDENTITY_TOKEN]
            self._answer(form["grant_type"][0], form, "access_token", known=known)

        def _answer(self, how: str, query: Mapping[str, list[str]], name: str, *, known: bool) -> None:
            service.asked.append(how)
            scopes = [scope for text in query.get("scope", []) for scope in text.split()]
            content: dict[str, Any] = {name: service.token(scopes)} if known else {"error": "invalid_grant"}
            body = json.dumps(content).encode()
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service = TokenService(f"http://127.0.0.1:{server.server_port}/token")
        threading.Thread(target=server.serve_forever, args=(0.02,), name="tokens", daemon=True).start()
        try:
            yield service
        finally:
            server.shutdown()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
