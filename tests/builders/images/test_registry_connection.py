"""Who cannot be reached is told apart, and nothing goes in the clear to another machine."""

import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest
import requests
import trustme

from builders.images import registry_errors
from builders.images.registry_errors import Explainer
from builders.images.repository import Registry
from builders.images.session import is_loopback
from infra.errors import UserError
from tests.net import free_port
from tests.registry import FakeRegistry, Fault

pytestmark = pytest.mark.server

UNTRUSTED = "nobody whom this machine trusts has signed it"


@pytest.fixture(autouse=True)
def _no_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(registry_errors, "RETRY_DELAYS_S", (0.0, 0.0, 0.0))


@pytest.fixture
def nobody(tmp_path: Path) -> Mapping[str, str]:
    return {"DOCKER_CONFIG": str(tmp_path / "absent")}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("registry", "is_it"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("registry.localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.8.8.8", True),
        ("[::1]:5000", True),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("10.0.0.1:5000", False),
        ("docker.io", False),
    ],
)
def test_this_machine_is_known_from_others(registry: str, is_it: bool) -> None:
    assert is_loopback(registry) is is_it


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_tls_is_spoken_with_this_machine_too(
    authority: trustme.CA, tmp_path: Path, nobody: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv(variable, str(bundle))
    with FakeRegistry(tls=tls_of(authority)) as registry:
        assert Registry.connect(registry.name, {**nobody, variable: str(bundle)}).scheme == "https"


@pytest.mark.parametrize(
    ("trusted", "name", "why"), [(False, "localhost", UNTRUSTED), (True, "other", "it is for another name")]
)
def test_a_certificate_is_checked(
    authority: trustme.CA,
    tmp_path: Path,
    nobody: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,
    name: str,
    why: str,
) -> None:
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    if trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with FakeRegistry(tls=tls_of(authority, name)) as registry:
        with pytest.raises(UserError) as caught:
            Registry.connect(registry.name, {**nobody, **os.environ})
        assert caught.value.message == f"the certificate of {registry.name} is not accepted: {why}"


def test_a_registry_without_tls_elsewhere_is_refused(
    nobody: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeRegistry() as registry:
        elsewhere = registry.name.replace("localhost", "registry.example.com")
        resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *args, **kinds: resolve("127.0.0.1", *args, **kinds))
        with pytest.raises(UserError) as caught:
            Registry.connect(elsewhere, nobody)
        assert caught.value.message == f"{elsewhere} does not speak TLS"
        assert registry.requests == []


def test_a_host_that_does_not_exist_is_told_at_once(nobody: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError) as caught:
        Registry.connect("registry.invalid", nobody)
    assert caught.value.message == "registry.invalid cannot be reached: there is no such host"


def test_a_port_on_which_nobody_listens_is_told(nobody: Mapping[str, str]) -> None:
    name = f"localhost:{free_port()}"
    with pytest.raises(UserError) as caught:
        Registry.connect(name, nobody)
    assert caught.value.message == f"{name} cannot be reached: it refuses the connection"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (requests.ConnectTimeout(), "example.com cannot be reached: it does not answer"),
        (requests.ReadTimeout(), "the connection to example.com broke or stalled"),
        (requests.exceptions.ProxyError(), "example.com cannot be reached: the proxy does not lead there"),
        (requests.ConnectionError(OSError(101, "")), "example.com cannot be reached: no network leads there"),
        (requests.ConnectionError(ConnectionResetError()), "the connection to example.com broke or stalled"),
        (requests.exceptions.TooManyRedirects(), "example.com does not answer as a registry does"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_failure_has_its_sentence(error: Exception, message: str) -> None:
    assert Explainer("example.com", "team/chat", has_login=False).failure(error).message == message


@pytest.mark.parametrize("where", ["redirect", "realm"])
def test_nothing_is_sent_to_a_stranger_without_tls(tmp_path: Path, nobody: Mapping[str, str], where: str) -> None:
    headers = {
        "redirect": {"Location": "http://stranger.example.com/v2/"},
        "realm": {"WWW-Authenticate": 'Bearer realm="http://stranger.example.com/token",service="a",scope="b"'},
    }[where]
    fault = Fault("HEAD", status=307 if where == "redirect" else 401, headers=headers)
    with FakeRegistry(faults=[fault]) as registry:
        repository = Registry.connect(registry.name, nobody).repository("team/chat")
        with pytest.raises(UserError) as caught:
            repository.has_blob("sha256:" + "0" * 64)
        repository.close()
        assert caught.value.message == f"{registry.name} leads to an address without TLS, where nothing is sent to"


def test_a_proxy_is_not_asked_for_this_machine(nobody: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with FakeRegistry() as registry:
        repository = Registry.connect(registry.name, nobody).repository("team/chat")
        assert not repository.has_blob("sha256:" + "0" * 64)
        repository.close()


def test_a_file_of_certificates_that_is_absent_is_told(
    authority: trustme.CA, tmp_path: Path, nobody: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent"))
    with FakeRegistry(tls=tls_of(authority)) as registry:
        with pytest.raises(UserError) as caught:
            Registry.connect(registry.name, {**nobody, **os.environ})
        assert caught.value.message == (
            f"{registry.name} cannot be trusted: the file of certificates to trust is absent"
        )


@pytest.mark.parametrize("name", ["localhost:99999", "registry.example.com:99999"])
def test_a_port_that_is_none_is_refused(name: str, nobody: Mapping[str, str]) -> None:
    with pytest.raises(UserError) as caught:
        Registry.connect(name, nobody)
    assert caught.value.message == f"{name} does not answer as a registry does"


def test_a_registry_that_is_busy_is_told(nobody: Mapping[str, str]) -> None:
    with FakeRegistry(faults=[Fault("GET", "/v2/", status=503)]) as registry:
        with pytest.raises(UserError) as caught:
            Registry.connect(registry.name, nobody)
        assert caught.value.message == f"{registry.name} fails for the moment: it answers 503"
