"""What a registry's refusals and a failing line mean, in plain words, and which of them deserve another try."""

import errno
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import requests
from urllib3.exceptions import NameResolutionError

from infra.errors import ExitCode, UserError

RETRY_DELAYS_S = (0.5, 1.5, 4.5)
"""Waits before the second and each later attempt, where the registry does not name one."""
LONGEST_WAIT_S = 30.0

_REPEAT = "repeat the command; what has arrived is not sent again"
_EXPIRED, _NOT_YET_VALID, _OTHER_HOST = 10, 9, (62, 64)
"""What OpenSSL calls the errors X509_V_ERR_* of a certificate."""

_NO_GRANT = "invalid_grant"
"""What OAuth 2 calls a refresh token that is wrong, or has expired."""

_NO_RIGHT = 'error="insufficient_scope"'
"""How a registry says that it knows us, and that we may not do that (RFC 6750)."""

T = TypeVar("T")


class RegistryError(UserError):
    """What went wrong between us and a registry.

    transient: the same request may succeed a moment later. wait_s: when the registry said so.
    """

    def __init__(self, message: str, hint: str, *, transient: bool = False, wait_s: float | None = None) -> None:
        super().__init__(message, hint=hint, exit_code=ExitCode.ENVIRONMENT)
        self.transient = transient
        self.wait_s = wait_s


class Attempts:
    """How often one thing is tried. stopped: once it is set, nothing is tried again."""

    def __init__(self, stopped: threading.Event) -> None:
        self._delays = iter(RETRY_DELAYS_S)
        self._stopped = stopped

    def wait_after(self, error: RegistryError) -> None:
        """Return when it is time for another attempt; raises the error when there should be none."""
        delay_s = next(self._delays, None)
        if delay_s is None or not error.transient:
            raise error
        if self._stopped.wait(delay_s if error.wait_s is None else min(error.wait_s, LONGEST_WAIT_S)):
            raise error


def retried(call: Callable[[], T], stopped: threading.Event) -> T:
    """Repeat what failed only for the moment, a few times; then the last error comes through."""
    attempts = Attempts(stopped)
    while True:
        try:
            return call()
        except RegistryError as error:
            attempts.wait_after(error)


@dataclass(frozen=True, slots=True)
class Explainer:
    """Knows whom we talk to about what.

    has_login: the Docker configuration has one for this registry. absent_helper: the program that should know one.
    """

    registry: str
    repository: str
    has_login: bool
    absent_helper: str | None = None

    @property
    def place(self) -> str:
        return f"{self.registry}/{self.repository}" if self.repository else self.registry

    def answer(self, response: requests.Response) -> RegistryError:
        """The registry answered, and said no."""
        codes, text = _details(response)
        status = self._status(response, codes)
        if status == 507 or "no space left" in text or f'"err": {errno.ENOSPC}' in text:
            return RegistryError(
                f"the disk of {self.registry} is full, so {self.repository} cannot be pushed",
                f"free space there, then {_REPEAT}",
            )
        match status:
            case 401:
                return self.login_wanted()
            case 403:
                return RegistryError(
                    f"{self.registry} denies access to {self.repository}"
                    + ("" if self.has_login else ", and the Docker configuration has no login for it"),
                    f"ask its owner for access, or log in as somebody who has it: `docker login {self.registry}`",
                )
            case 404:
                return RegistryError(
                    f"{self.registry} has no {'image' if 'MANIFEST_UNKNOWN' in codes else 'repository'} "
                    f"{self.repository}",
                    "check the spelling; some registries want a repository to be created before the first push",
                )
            case 405:
                return RegistryError(
                    f"{self.registry} takes no images: it is read-only or only a cache of another registry",
                    "push to another registry",
                )
            case 413:
                return RegistryError(
                    f"{self.registry} refuses a layer of {self.repository} because it is too large (413)",
                    "raise the limit for bodies in the registry or in the proxy before it "
                    "(nginx: `client_max_body_size 0`)",
                )
            case 408 | 429 | 500 | 502 | 503 | 504:
                named = response.headers.get("Retry-After", "")
                return RegistryError(
                    f"{self.registry} asks to slow down (429)"
                    if status == 429
                    else f"{self.registry} fails for the moment: it answers {status}",
                    f"wait a while, then {_REPEAT}",
                    transient=True,
                    wait_s=float(named) if named.isdecimal() else None,
                )
        if "DIGEST_INVALID" in codes or "SIZE_INVALID" in codes:
            return self.damaged("a layer", "what arrived there is not what its digest says")
        return RegistryError(
            f"{self.registry} answers {status} about {self.repository or 'itself'}, which no registry should",
            "check its name and port, and whether a proxy or a login page stands in between",
        )

    def _status(self, response: requests.Response, codes: set[str]) -> int:
        """What the answer is about: who we are (401), or what we may do (403); any other as it is."""
        if response.status_code == 400 and _NO_GRANT in codes:
            return 401
        if response.status_code == 401 and self.has_login and _NO_RIGHT in response.headers.get("WWW-Authenticate", ""):
            return 403
        return response.status_code

    def login_wanted(self) -> RegistryError:
        """Who we are is not known there, or not believed."""
        if self.absent_helper:
            return RegistryError(
                f"{self.registry} wants a login, and the program that knows it, {self.absent_helper}, is absent",
                f"install it, or remove it from the Docker configuration and run `docker login {self.registry}`",
            )
        if self.has_login:
            message = f"{self.registry} does not accept the login that the Docker configuration has for it"
        else:
            purpose = f" for {self.repository}" if self.repository else ""
            message = f"{self.registry} wants a login{purpose}, and the Docker configuration has none"
        return RegistryError(message, f"run `docker login {self.registry}`, then repeat the command")

    def damaged(self, what: str, how: str) -> RegistryError:
        """Content is not what its digest says."""
        return RegistryError(
            f"{what} of {self.place} is damaged: {how}",
            "repeat the command; if it stays so, a proxy in between changes the data, or the cache is damaged",
            transient=True,
        )

    def not_a_registry(self) -> RegistryError:
        return RegistryError(
            f"{self.registry} does not answer as a registry does",
            "check its name and port, and whether a proxy or a login page stands in between",
        )

    def failure(self, error: BaseException) -> RegistryError:
        """Nobody answered, or the line broke; `error` is what requests raises."""
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            return RegistryError(
                f"{self.registry} cannot be trusted: the file of certificates to trust is absent",
                "let REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE name one, or unset it",
            )
        causes = list(_causes(error))
        if certificate := _first(causes, ssl.SSLCertVerificationError):
            return self._bad_certificate(certificate.verify_code)
        if isinstance(error, requests.exceptions.SSLError):
            return RegistryError(
                f"{self.registry} does not speak TLS",
                "put TLS before it; plain http is used only for registries on this machine, such as localhost:5000",
            )
        if isinstance(error, requests.exceptions.InvalidSchema):
            return RegistryError(
                f"{self.registry} leads to an address without TLS, where nothing is sent to",
                "have its https addresses configured there",
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return self._unreachable("the proxy does not lead there", "check HTTPS_PROXY and NO_PROXY")
        if _first(causes, NameResolutionError):
            return self._unreachable("there is no such host", "check the spelling and the network")
        if _first(causes, ConnectionRefusedError):
            hint = "check the port, and that the registry runs"
            return self._unreachable("it refuses the connection", hint, transient=True)
        if any(isinstance(c, OSError) and c.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) for c in causes):
            return self._unreachable("no network leads there", "check the network")
        if isinstance(error, requests.exceptions.ConnectTimeout):
            return self._unreachable("it does not answer", "check the network and the port", transient=True)
        broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
        return self.broken() if isinstance(error, broken) else self.not_a_registry()

    def broken(self) -> RegistryError:
        """The line ended in the middle."""
        return RegistryError(f"the connection to {self.registry} broke or stalled", _REPEAT, transient=True)

    def _unreachable(self, why: str, hint: str, *, transient: bool = False) -> RegistryError:
        return RegistryError(f"{self.registry} cannot be reached: {why}", hint, transient=transient)

    def _bad_certificate(self, code: int) -> RegistryError:
        trust = "name the file of its authority's certificate in REQUESTS_CA_BUNDLE"
        if code == _EXPIRED:
            why, hint = "it has expired", "have it renewed"
        elif code == _NOT_YET_VALID:
            why, hint = "it is not valid yet", "check this machine's clock"
        elif code in _OTHER_HOST:
            why, hint = "it is for another name", "use the name that it was issued for"
        else:
            why, hint = "nobody whom this machine trusts has signed it", trust
        return RegistryError(f"the certificate of {self.registry} is not accepted: {why}", hint)


def _details(response: requests.Response) -> tuple[set[str], str]:
    """The error codes of an answer, and its details as one line of JSON in lower case."""
    try:
        body: Any = json.loads(response.content)
        if isinstance(body.get("error"), str):  # of a service that gives tokens (RFC 6749)
            return {body["error"]}, ""
        errors = [error for error in body["errors"] if isinstance(error, dict)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set(), ""
    return {str(error.get("code")) for error in errors}, json.dumps(errors).lower()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that led to it; urllib3 keeps some of it in `reason`, requests in the arguments."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop(0)
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            inner = (getattr(current, "reason", None), current.__cause__, current.__context__)
            waiting.extend(chain(current.args, inner))


E = TypeVar("E", bound=BaseException)


def _first(causes: list[BaseException], kind: type[E]) -> E | None:
    return next((cause for cause in causes if isinstance(cause, kind)), None)
