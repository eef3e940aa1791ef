"""A login is found wherever Docker or podman keep it, and goes to the registry that it is for and nowhere else."""

import base64
import io
import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from builders.images import registry_errors
from builders.images.blobs import ignore
from builders.images.crew import BlobBody
from builders.images.layout import digest_of
from builders.images.repository import Registry
from infra.errors import UserError
from tests.registry import IDENTITY_TOKEN, PASSWORD, USER, Auth, FakeRegistry, Fault

pytestmark = pytest.mark.server

BLOB = b"abc"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_errors, "RETRY_DELAYS_S", ())


def body() -> BlobBody:
    return BlobBody(lambda: io.BytesIO(BLOB), len(BLOB), ignore, threading.Event())


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


LOGIN = {"auth": basic(USER, PASSWORD)}


def docker(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """An environment with this Docker configuration."""
    (folder / "docker").mkdir(exist_ok=True)
    (folder / "docker" / "config.json").write_text(json.dumps(config))
    return {"DOCKER_CONFIG": str(folder / "docker")}


def podman(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """An environment with this auth.json, and Docker's default place empty."""
    (folder / "containers").mkdir(exist_ok=True)
    (folder / "containers" / "auth.json").write_text(json.dumps(config))
    return {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}


def send(registry: FakeRegistry, environ: Mapping[str, str]) -> None:
    """Send a blob, which only who is logged in may."""
    repository = Registry.connect(registry.name, environ).repository("team/chat")
    try:
        repository.put_blob(digest_of(BLOB), body())
    finally:
        repository.close()


def proofs(registry: FakeRegistry) -> set[str]:
    """The secrets that came to it, however they were packed."""
    seen = {base64.b64decode(r.proof.removeprefix("Basic ")).decode() for r in registry.requests if "Basic" in r.proof}
    return seen | {request.proof for request in registry.requests if request.proof and "Basic" not in request.proof}


@pytest.mark.parametrize("how", ["identitytoken", "identitytoken beside a user", "helper"])
def test_an_identity_token_gets_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    with FakeRegistry(auth="token") as registry:
        entry = {"identitytoken": IDENTITY_TOKEN, **({"auth": basic("0" * 8, "")} if "beside" in how else {})}
        config = {"credsStore": "tests"} if how == "helper" else {"auths": {registry.name: entry}}
        environ = docker(tmp_path, config)
        helper = tmp_path / "docker-credential-tests"
        helper.write_text(f"#!/bin/sh\necho '{json.dumps({'Username': '<token>', 'Secret': IDENTITY_TOKEN})}'\n")
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        send(registry, environ)
        assert {request.proof for request in registry.requests if request.path == "/token"} == {IDENTITY_TOKEN}
        assert registry.blobs["team/chat"] == {digest_of(BLOB): BLOB}


@pytest.mark.parametrize("answer", [(400, b'{"error": "invalid_grant"}'), (401, b"")])
def test_an_identity_token_that_has_expired_is_told(tmp_path: Path, answer: tuple[int, bytes]) -> None:
    with FakeRegistry(auth="token", faults=[Fault("POST", "/token", status=answer[0], body=answer[1])]) as registry:
        with pytest.raises(UserError) as caught:
            send(registry, docker(tmp_path, {"auths": {registry.name: {"identitytoken": "old"}}}))
        assert caught.value.message == (
            f"{registry.name} does not accept the login that the Docker configuration has for it"
        )


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("place", ["XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE"])
@pytest.mark.parametrize("beside", [None, {}, {"auths": {"example.com": LOGIN}}, {"credsStore": "absent"}], ids=repr)
def test_where_docker_has_nothing_podman_may_have_it(
    tmp_path: Path, auth: Auth, place: str, beside: Mapping[str, Any] | None
) -> None:
    with FakeRegistry(auth=auth) as registry:
        environ = podman(tmp_path, {"auths": {registry.name: LOGIN}})
        if place == "REGISTRY_AUTH_FILE":
            environ = {"REGISTRY_AUTH_FILE": f"{environ['XDG_RUNTIME_DIR']}/containers/auth.json"}
        environ |= {"DOCKER_CONFIG": str(tmp_path / "absent")} if beside is None else docker(tmp_path, beside)
        send_and_be_known(registry, environ)


def test_docker_comes_first(tmp_path: Path) -> None:
    with FakeRegistry(auth="basic") as registry:
        wrong = {"auths": {registry.name: {"auth": basic(USER, "wrong")}}}
        send_and_be_known(registry, podman(tmp_path, wrong) | docker(tmp_path, {"auths": {registry.name: LOGIN}}))


@pytest.mark.parametrize("key", ["https://{}", "https://{}/v1/", "http://{}/v2/"])
def test_an_entry_may_be_written_as_an_address(tmp_path: Path, key: str) -> None:
    with FakeRegistry(auth="basic") as registry:
        send_and_be_known(registry, docker(tmp_path, {"auths": {key.format(registry.name): LOGIN}}))


def send_and_be_known(registry: FakeRegistry, environ: Mapping[str, str]) -> None:
    send(registry, environ)
    assert f"{USER}:{PASSWORD}" in proofs(registry)
    assert registry.blobs["team/chat"] == {digest_of(BLOB): BLOB}


def test_a_broken_auth_json_is_named(tmp_path: Path) -> None:
    environ = {"DOCKER_CONFIG": str(tmp_path / "absent"), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    (tmp_path / "auth.json").write_text("{")
    with pytest.raises(UserError) as caught:
        Registry.connect("localhost:1", environ)
    assert caught.value.message == f"the podman configuration {tmp_path}/auth.json cannot be read"
    assert caught.value.hint == "mend or remove it, then log in again with `podman login`"


def test_only_these_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """oras by itself knows variables of its own, and the home of whoever runs it."""
    with FakeRegistry(auth="basic") as registry:
        monkeypatch.setenv("ORAS_USER", USER)
        monkeypatch.setenv("ORAS_PASS", PASSWORD)
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": {registry.name: LOGIN}}))
        with pytest.raises(UserError, match="wants a login"):
            send(registry, {"DOCKER_CONFIG": str(tmp_path / "absent")})
        assert proofs(registry) == set()


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("theirs", ["none", "basic", "token"])
@pytest.mark.parametrize("how", ["redirect", "location"])
def test_another_host_gets_no_proof_of_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: Auth, theirs: Auth, how: str
) -> None:
    (tmp_path / "netrc").write_text(f"default login {USER} password of-netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with FakeRegistry(auth=auth) as registry, FakeRegistry(auth=theirs) as stranger:
        elsewhere = {"Location": f"http://{stranger.name}/v2/team/chat/blobs/uploads/1?state=a%2Bb"}
        repository = Registry.connect(registry.name, docker(tmp_path, {"auths": {registry.name: LOGIN}})).repository(
            "team/chat"
        )
        assert not repository.has_blob(digest_of(BLOB))  # so that it has a token
        method, status = ("HEAD", 307) if how == "redirect" else ("POST", 202)
        registry.faults.append(Fault(method, status=status, headers=elsewhere))
        with suppress(UserError):
            if how == "redirect":
                repository.has_blob(digest_of(BLOB))
            else:
                repository.put_blob(digest_of(BLOB), body())
        repository.close()
        assert stranger.requests
        assert proofs(stranger) == set()


def test_an_identity_token_does_not_follow_a_redirect(tmp_path: Path) -> None:
    with FakeRegistry(auth="token") as stranger:
        moved = Fault("POST", "/token", status=307, headers={"Location": f"http://{stranger.name}/token"})
        with FakeRegistry(auth="token", faults=[moved]) as registry, pytest.raises(UserError):
            send(registry, docker(tmp_path, {"auths": {registry.name: {"identitytoken": IDENTITY_TOKEN}}}))
        assert stranger.requests == []


@pytest.mark.parametrize("challenge", ["Bearer", 'Bearer service="a"', "Bearer realm=token", 'Bearer realm=""', "Odd"])
@pytest.mark.parametrize("entry", [LOGIN, {"identitytoken": IDENTITY_TOKEN}, None], ids=["login", "identity", "nobody"])
def test_a_challenge_that_is_none_is_an_error(tmp_path: Path, challenge: str, entry: object) -> None:
    fault = Fault("POST", status=401, headers={"WWW-Authenticate": challenge})
    with FakeRegistry(faults=[fault]) as registry:
        environ = docker(tmp_path, {"auths": {registry.name: entry} if entry else {}})
        with pytest.raises(UserError):
            send(registry, environ)


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b'{"token": null}', b'{"access_token": 3}', b"<html>"])
@pytest.mark.parametrize("entry", [LOGIN, {"identitytoken": IDENTITY_TOKEN}], ids=["login", "identity"])
def test_an_answer_that_holds_no_token_is_an_error(tmp_path: Path, body: bytes, entry: object) -> None:
    faults = [Fault(method, "/token*", status=200, body=body) for method in ("GET", "POST")]
    with FakeRegistry(auth="token", faults=faults) as registry, pytest.raises(UserError):
        send(registry, docker(tmp_path, {"auths": {registry.name: entry}}))
