"""HTTP as registries may be spoken to: with time limits, through TLS, and with proofs of us for nobody else."""

import ipaddress
import socket
import ssl
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

_CONNECT_S, _ANSWER_S, _STORE_S = 20.0, 60.0, 600.0
"""How long we wait for a connection, for an answer, and for one to a whole blob, which the registry reads again."""
_PORTS = {"http": 80, "https": 443}


def is_loopback(registry: str) -> bool:
    """Whether `registry`, a host with or without a port, is this machine."""
    host = urlsplit(f"//{registry}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def speaks_tls(registry: str) -> bool:
    """Whether somebody answers there with TLS, whatever the certificate."""
    parts = urlsplit(f"//{registry}")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), timeout=2) as line,
            context.wrap_socket(line, server_hostname=parts.hostname),
        ):
            return True
    except (OSError, ValueError):
        return False


def origin(address: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of a URL; raises ValueError for a port that is none."""
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


class Session(requests.Session):
    """Keeps connections; what proves who we are goes only where it was meant to go."""

    def __init__(self) -> None:
        super().__init__()
        self.mount("http://", _Transport())
        self.mount("https://", _Transport())
        self.auth = lambda request: request  # else requests would send what ~/.netrc has instead of ours
        # Some registries take a client that keeps cookies for a browser.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Where a redirect leads elsewhere, neither our proof goes nor what ~/.netrc has."""
        if origin(prepared_request.url or "") != origin(response.url):
            prepared_request.headers.pop("Authorization", None)


class _Transport(HTTPAdapter):
    """Sends requests with a time limit, to strangers through TLS only, and to this machine through no proxy."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        if is_loopback(parts.netloc):
            kwargs["proxies"] = None
        elif parts.scheme != "https":
            raise requests.exceptions.InvalidSchema
        kwargs["timeout"] = (_CONNECT_S, _STORE_S if request.method == "PUT" else _ANSWER_S)
        return super().send(request, *args, **kwargs)
