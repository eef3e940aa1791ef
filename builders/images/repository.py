"""One repository of a registry over HTTP: oras proves who we are, and we say what is to be stored or fetched."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import urlencode, urljoin

import requests
from oras.provider import Registry as OrasRegistry

from builders.images.credentials import Credentials
from builders.images.layout import Descriptor, digest_of
from builders.images.registry_errors import RegistryError
from builders.images.session import Session, is_loopback, origin, speaks_tls

CHUNK_BYTES = 1 << 18
MAX_MANIFEST_BYTES = 4 << 20
"""What registries are told to accept, so nobody writes a longer one."""
_HOSTS = {"docker.io": "registry-1.docker.io"}
"""Where registries are that go by another name in references."""

# oras repeats what failed up to five times over two minutes, a wrong host name included; we know what is worth it.
_do_request = OrasRegistry.do_request.__wrapped__


class Body(Protocol):
    """What is streamed to a registry: its pieces, from the first one on each time, and its size in bytes."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that has answered. name: as in references; kind: how it wants to know us."""

    name: str
    scheme: Literal["http", "https"]
    kind: Literal["basic", "token"]
    credentials: Credentials
    trust: str | bool

    @classmethod
    def connect(cls, name: str, environ: Mapping[str, str]) -> "Registry":
        """Reach the registry `name`; raises UserError (exit 4). Plain http is spoken with this machine only."""
        credentials = Credentials(name, environ)
        explainer = credentials.explainer("")
        scheme: Literal["http", "https"] = "http" if is_loopback(name) and not speaks_tls(name) else "https"
        # requests itself reads the first two, which it understands as curl does.
        named = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE")
        trust = True if named else environ.get("SSL_CERT_FILE") or True
        try:
            with Session() as session:
                answer = session.get(_address(scheme, name), verify=trust)
        except (OSError, ValueError) as error:
            raise explainer.failure(error) from None
        if answer.status_code == 429 or answer.status_code >= 500:
            raise explainer.answer(answer)
        challenge = answer.headers.get("WWW-Authenticate", "").lower()
        if answer.status_code not in (200, 401) or (answer.status_code == 401 and not challenge):
            raise explainer.not_a_registry()
        basic = challenge.startswith("basic")
        if basic and not credentials.exist:
            raise explainer.login_wanted()
        return cls(name, scheme, "basic" if basic else "token", credentials, trust)

    @property
    def address(self) -> str:
        """Where its API begins."""
        return _address(self.scheme, self.name)

    def repository(self, name: str) -> "Repository":
        """A connection of its own to one repository."""
        return Repository(self, name)


def _address(scheme: str, name: str) -> str:
    return f"{scheme}://{_HOSTS.get(name, name)}/v2/"


class Manifest(NamedTuple):
    """A manifest as the registry has it, to the byte."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.content)


class Repository:
    """Speaks with a registry about one repository: one request at a time, so each thread has its own.

    Every method raises RegistryError, and tries once only.
    """

    def __init__(self, registry: Registry, name: str) -> None:
        self.name = name
        self.explainer = registry.credentials.explainer(name)
        self._url = f"{registry.address}{name}/"
        self._oras = OrasRegistry(insecure=registry.scheme == "http", tls_verify=registry.trust)
        self._oras.session = session = Session()
        self._oras.auth = registry.credentials.backend(registry.kind, session, registry.trust, registry.address)
        self._last: requests.Response | None = None
        session.hooks["response"].append(self._note)
        # oras sends a token with the first request, but a password only when it is asked for, after a whole body.
        self._headers = self._oras.auth.get_auth_header() if registry.kind == "basic" else {}

    def close(self) -> None:
        self._oras.session.close()

    def has_blob(self, digest: str) -> bool:
        """Whether the blob is there, in this repository."""
        return self._ask("HEAD", f"blobs/{digest}", {200, 404}).status_code == 200

    def mount_blob(self, digest: str, source: str) -> bool:
        """Take a blob over from another repository of the registry; returns whether that worked."""
        query = urlencode({"mount": digest, "from": source})
        try:
            return self._ask("POST", f"blobs/uploads/?{query}", {201, 202}).status_code == 201
        except RegistryError as error:
            if error.transient:
                raise
            return False  # it knows no mounting, or that repository is closed to us

    def put_blob(self, digest: str, body: Body) -> None:
        """Send a blob in one stream."""
        begun = self._ask("POST", "blobs/uploads/", {202})
        if "Location" not in begun.headers:
            raise self.explainer.not_a_registry()
        place = urljoin(begun.url, begun.headers["Location"])
        place += ("&" if "?" in place else "?") + urlencode({"digest": digest})
        self._ask("PUT", place, {201, 204}, body=body, headers={"Content-Type": "application/octet-stream"})

    def put_manifest(self, tag: str, descriptor: Descriptor, content: bytes) -> None:
        """Store a manifest as it is under a tag."""
        answer = self._ask(
            "PUT", f"manifests/{tag}", {201}, body=content, headers={"Content-Type": descriptor.media_type}
        )
        if answer.headers.get("Docker-Content-Digest", descriptor.digest) != descriptor.digest:
            raise self.explainer.damaged("the manifest", "the registry has changed it")

    def manifest(self, reference: str, media_types: Iterable[str]) -> Manifest:
        """The manifest or index of that tag or digest. Whether it has that digest is for the caller to check."""
        headers = {"Accept": ", ".join(media_types)}
        with self._ask("GET", f"manifests/{reference}", {200}, headers=headers, stream=True) as answer:
            content = b"".join(self._chunks(answer, MAX_MANIFEST_BYTES))
            return Manifest(answer.headers.get("Content-Type", "").partition(";")[0].strip(), content)

    def blob(self, blob: Descriptor, start: int = 0) -> Iterator[bytes]:
        """The content of a blob from byte `start` on. Whether it has that digest is for the caller to check."""
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        with self._ask("GET", f"blobs/{blob.digest}", {200, 206}, headers=headers, stream=True) as answer:
            # Not every registry can begin in the middle.
            skipped = start if answer.status_code == 200 else 0
            for chunk in self._chunks(answer, blob.size - start + skipped):
                yield chunk[skipped:]
                skipped = max(0, skipped - len(chunk))

    def _chunks(self, answer: requests.Response, limit_bytes: int) -> Iterator[bytes]:
        """The body of an answer, which must not be longer than that."""
        try:
            for chunk in answer.iter_content(CHUNK_BYTES):
                limit_bytes -= len(chunk)
                if limit_bytes < 0:
                    raise self.explainer.not_a_registry()
                yield chunk
        except requests.RequestException as error:
            raise self.explainer.failure(error) from None

    def _ask(
        self,
        method: str,
        place: str,
        expected: Collection[int],
        *,
        body: Body | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """One request below this repository, or to an address that the registry has named."""
        answer = self._send(method, urljoin(self._url, place), body, headers or {}, stream=stream)
        if answer.status_code == 401 and getattr(self._oras.auth, "token", None):
            # The token has expired, or was given for less than this request needs.
            self._oras.auth.token = None
            answer = self._send(method, urljoin(self._url, place), body, headers or {}, stream=stream)
        if answer.status_code not in expected:
            raise self.explainer.answer(answer)
        return answer

    def _send(
        self, method: str, url: str, body: Body | bytes | None, headers: Mapping[str, str], *, stream: bool
    ) -> requests.Response:
        try:
            answer: requests.Response
            if origin(url) == origin(self._url):
                headers = {**headers, **self._headers}
                answer = _do_request(self._oras, url, method, data=body, headers=headers, stream=stream)
            else:  # where the registry keeps its blobs; whatever that wants to know stands in the address
                trust = self._oras._tls_verify
                answer = self._oras.session.request(
                    method, url, data=body, headers=dict(headers), stream=stream, verify=trust
                )
        except OSError as error:  # which all of requests' own are
            raise self.explainer.failure(error) from None
        except ValueError:  # oras got no token for us; the last answer says why
            if self._last is None:
                raise self.explainer.not_a_registry() from None
            raise self.explainer.answer(self._last) from None
        return answer

    def _note(self, answer: requests.Response, **_: Any) -> None:
        self._last = answer
