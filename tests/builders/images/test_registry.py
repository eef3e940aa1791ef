"""Images reach a registry to the byte, nothing is sent twice, and whatever fails is told in one sentence."""

import base64
import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from builders.images import registry_errors
from builders.images.blobs import ignore
from builders.images.crew import BlobBody, Crew
from builders.images.layout import Image, ImageConfig, MediaType, digest_of
from builders.images.registry import Pushed, Pusher
from builders.images.repository import Registry
from builders.images.store import BlobStore
from builders.images.tar import File
from infra.errors import ExitCode, UserError
from tests.registry import PASSWORD, USER, Auth, FakeRegistry, Fault

pytestmark = pytest.mark.server

WEIGHTS_BYTES = 3_000_000
LOGIN = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_errors, "RETRY_DELAYS_S", (0.0, 0.0, 0.0))


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def image_of(store: BlobStore, name: str, *, weights: str = "shared") -> Image:
    """An image of three blobs: weights, a small layer of its own, and a config."""
    content = (weights.encode() * WEIGHTS_BYTES)[:WEIGHTS_BYTES]
    layers = [
        store.layer(weights, lambda: {"/models/a": File(content)}, purpose="weights")[0],
        store.layer(name, lambda: {"/task.json": File(name.encode())}, purpose="task")[0],
    ]
    return Image.of(ImageConfig(labels={"name": name}), layers)


def environ_with(folder: Path, config: object) -> Mapping[str, str]:
    """An environment whose Docker configuration says that."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return {"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.fixture
def nobody(tmp_path: Path) -> Mapping[str, str]:
    """The environment of somebody who has never logged in."""
    return {"DOCKER_CONFIG": str(tmp_path / "absent")}


def push(registry: FakeRegistry, store: BlobStore, image: Image, environ: Mapping[str, str]) -> Pushed:
    return Pusher(Registry.connect(registry.name, environ), store).push(image, "team/chat", "1")


def sizes(pushed: Pushed) -> tuple[int, int, int]:
    return pushed.sent_bytes, pushed.mounted_bytes, pushed.present_bytes


def blob_bytes(image: Image) -> int:
    return image.size - len(image.manifest)


def test_an_image_arrives_to_the_byte(store: BlobStore, nobody: Mapping[str, str]) -> None:
    image = image_of(store, "chat")
    with FakeRegistry() as registry:
        pushed = push(registry, store, image, nobody)
        assert pushed == Pushed("team/chat", "1", image.digest, blob_bytes(image), 0, 0)
        assert registry.manifests["team/chat"]["1"] == (MediaType.MANIFEST, image.manifest)
        assert registry.blobs["team/chat"] == {
            digest_of(image.config): image.config,
            **{layer.digest: store.read(layer.digest) for layer in image.layers},
        }
        assert registry.requests[-1].path == "/v2/team/chat/manifests/1"


def test_what_is_there_is_not_sent_again(store: BlobStore, nobody: Mapping[str, str]) -> None:
    image = image_of(store, "chat")
    with FakeRegistry() as registry:
        push(registry, store, image, nobody)
        sent = registry.sent_bytes
        assert sizes(push(registry, store, image, nobody)) == (0, 0, blob_bytes(image))
        assert registry.sent_bytes == sent == blob_bytes(image)


@pytest.mark.parametrize("auth", ["none", "basic", "token"])
def test_weights_that_two_images_share_are_sent_once(store: BlobStore, tmp_path: Path, auth: Auth) -> None:
    one, two = image_of(store, "one"), image_of(store, "two")
    with FakeRegistry(auth=auth) as registry:
        environ = environ_with(tmp_path / "docker", {"auths": {registry.name: LOGIN}})
        pusher = Pusher(Registry.connect(registry.name, environ), store)
        first, second = pusher.push(one, "team/one", "1"), pusher.push(two, "team/two", "1")
        weights = one.layers[0].size
        assert sizes(first) == (blob_bytes(one), 0, 0)
        assert sizes(second) == (blob_bytes(two) - weights, weights, 0)
        assert registry.sent_bytes == blob_bytes(one) + blob_bytes(two) - weights
        refused = [request for request in registry.requests if not request.admitted and request.body_bytes]
        assert [request for request in refused if "/blobs/" in request.path] == []


def test_a_registry_that_cannot_mount_gets_the_blob(store: BlobStore, nobody: Mapping[str, str]) -> None:
    one, two = image_of(store, "one"), image_of(store, "two")
    for registry in (FakeRegistry(mounts=False), FakeRegistry(faults=[Fault("POST", "*mount=*", status=405)])):
        with registry:
            pusher = Pusher(Registry.connect(registry.name, nobody), store)
            pusher.push(one, "team/one", "1")
            assert sizes(pusher.push(two, "team/two", "1"))[1] == 0
            assert set(registry.blobs["team/two"]) == {
                two.config_descriptor.digest,
                *(layer.digest for layer in two.layers),
            }


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("place", ["auths", "credHelpers", "credsStore"])
def test_the_login_comes_from_the_docker_configuration(
    store: BlobStore, tmp_path: Path, capfd: pytest.CaptureFixture[str], auth: Auth, place: str
) -> None:
    image = image_of(store, "chat")
    with FakeRegistry(auth=auth) as registry:
        named = {registry.name: LOGIN if place == "auths" else "tests"}
        environ = environ_with(tmp_path / "docker", {place: "tests" if place == "credsStore" else named})
        helper = tmp_path / "docker" / "docker-credential-tests"
        helper.write_text(f"#!/bin/sh\necho '{json.dumps({'Username': USER, 'Secret': PASSWORD})}'\n")
        helper.chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", environ["PATH"])
            push(registry, store, image, environ)
        assert registry.manifests["team/chat"]["1"][1] == image.manifest
    assert capfd.readouterr() == ("", "")


def test_a_token_that_expires_is_renewed(store: BlobStore, tmp_path: Path) -> None:
    image = image_of(store, "chat")
    with FakeRegistry(auth="token", tokens_last=2) as registry:
        push(registry, store, image, environ_with(tmp_path / "docker", {"auths": {registry.name: LOGIN}}))
        assert registry.manifests["team/chat"]["1"][1] == image.manifest


def test_what_netrc_holds_is_not_sent(store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine localhost login {USER} password wrong\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with FakeRegistry(auth="token") as registry:
        push(registry, store, image_of(store, "chat"), environ_with(tmp_path, {"auths": {registry.name: LOGIN}}))


FULL = json.dumps({"errors": [{"code": "UNKNOWN", "detail": {"DriverName": "filesystem", "Enclosed": {"Err": 28}}}]})

REFUSALS = [
    (
        Fault("POST", status=401),
        "REGISTRY wants a login for team/chat, and the Docker configuration has none",
        "run `docker login REGISTRY`, then repeat the command",
    ),
    (
        Fault("POST", status=403),
        "REGISTRY denies access to team/chat, and the Docker configuration has no login for it",
        "ask its owner for access, or log in as somebody who has it: `docker login REGISTRY`",
    ),
    (
        Fault("POST", status=404, body=b'{"errors": [{"code": "NAME_UNKNOWN"}]}'),
        "REGISTRY has no repository team/chat",
        "check the spelling; some registries want a repository to be created before the first push",
    ),
    (
        Fault("POST", status=405),
        "REGISTRY takes no images: it is read-only or only a cache of another registry",
        "push to another registry",
    ),
    (
        Fault("PUT", "*/uploads/*", status=413, body=b"<html>Request Entity Too Large</html>"),
        "REGISTRY refuses a layer of team/chat because it is too large (413)",
        "raise the limit for bodies in the registry or in the proxy before it (nginx: `client_max_body_size 0`)",
    ),
    (
        Fault("PUT", "*/uploads/*", status=500, body=FULL.encode()),
        "the disk of REGISTRY is full, so team/chat cannot be pushed",
        "free space there, then repeat the command; what has arrived is not sent again",
    ),
    (
        Fault("PUT", "*/uploads/*", status=503, headers={"Retry-After": "0"}),
        "REGISTRY fails for the moment: it answers 503",
        "wait a while, then repeat the command; what has arrived is not sent again",
    ),
    (
        Fault("HEAD", status=429),
        "REGISTRY asks to slow down (429)",
        "wait a while, then repeat the command; what has arrived is not sent again",
    ),
    (
        Fault("PUT", "*/uploads/*"),
        "the connection to REGISTRY broke or stalled",
        "repeat the command; what has arrived is not sent again",
    ),
    (
        Fault("PUT", "*/manifests/*", status=418),
        "REGISTRY answers 418 about team/chat, which no registry should",
        "check its name and port, and whether a proxy or a login page stands in between",
    ),
    (
        Fault("PUT", "*/manifests/*", status=201, headers={"Docker-Content-Digest": "sha256:" + "0" * 64}),
        "the manifest of REGISTRY/team/chat is damaged: the registry has changed it",
        "repeat the command; if it stays so, a proxy in between changes the data, or the cache is damaged",
    ),
    (
        Fault("GET", "/v2/", status=200 + 104),
        "REGISTRY does not answer as a registry does",
        "check its name and port, and whether a proxy or a login page stands in between",
    ),
]


@pytest.mark.parametrize(("fault", "message", "hint"), REFUSALS, ids=[message for _, message, _ in REFUSALS])
def test_every_refusal_has_its_sentence(
    store: BlobStore, nobody: Mapping[str, str], fault: Fault, message: str, hint: str
) -> None:
    with FakeRegistry(faults=[fault]) as registry:
        with pytest.raises(UserError) as caught:
            push(registry, store, image_of(store, "chat"), nobody)
        said = (caught.value.message, caught.value.hint, caught.value.exit_code)
        assert said == (
            message.replace("REGISTRY", registry.name),
            hint.replace("REGISTRY", registry.name),
            ExitCode.ENVIRONMENT,
        )
        assert "1" not in registry.manifests.get("team/chat", {})


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("login", [None, "wrong"])
def test_a_login_that_is_absent_or_wrong_is_told(
    store: BlobStore, tmp_path: Path, auth: Auth, login: str | None
) -> None:
    with FakeRegistry(auth=auth) as registry:
        wrong = {"auth": base64.b64encode(b"ann:wrong").decode()}
        environ = environ_with(tmp_path / "docker", {"auths": {registry.name: wrong} if login else {}})
        with pytest.raises(UserError) as caught:
            push(registry, store, image_of(store, "chat"), environ)
        purpose = "" if auth == "basic" else " for team/chat"
        assert caught.value.message == (
            f"{registry.name} does not accept the login that the Docker configuration has for it"
            if login
            else f"{registry.name} wants a login{purpose}, and the Docker configuration has none"
        )
        assert caught.value.hint == f"run `docker login {registry.name}`, then repeat the command"


def test_a_helper_that_is_absent_is_named(store: BlobStore, tmp_path: Path) -> None:
    with FakeRegistry(auth="token") as registry:
        environ = environ_with(tmp_path / "docker", {"credHelpers": {registry.name: "nowhere"}})
        with pytest.raises(UserError) as caught:
            push(registry, store, image_of(store, "chat"), environ)
        assert caught.value.message == (
            f"{registry.name} wants a login, and the program that knows it, docker-credential-nowhere, is absent"
        )


def test_who_may_only_read_is_asked_to_log_in(store: BlobStore, nobody: Mapping[str, str]) -> None:
    with FakeRegistry(auth="token", open_to_read=True) as registry:
        with pytest.raises(UserError) as caught:
            push(registry, store, image_of(store, "chat"), nobody)
        assert caught.value.message == (
            f"{registry.name} wants a login for team/chat, and the Docker configuration has none"
        )
        assert registry.sent_bytes == 0


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("accepted", [True, False])
def test_secrets_are_told_to_nobody(
    store: BlobStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    auth: Auth,
    accepted: bool,
) -> None:
    secret = PASSWORD if accepted else "sentinel-of-a-password"
    login = base64.b64encode(f"{USER}:{secret}".encode()).decode()
    said = ""
    with caplog.at_level(logging.DEBUG), FakeRegistry(auth=auth) as registry:
        environ = environ_with(tmp_path / "docker", {"auths": {registry.name: {"auth": login}}})
        try:
            push(registry, store, image_of(store, "chat"), environ)
        except UserError as error:
            said = "".join(traceback.format_exception(error))
        connected = repr(Registry.connect(registry.name, environ))
        assert bool(said) is not accepted
        shown = (said, connected, caplog.text, *capfd.readouterr())
        assert [text for text in shown if secret in text or login in text or "token-0" in text] == []


@pytest.mark.parametrize("config", ["not json", "[]", '{"auths": 3}'])
def test_a_broken_docker_configuration_is_named(tmp_path: Path, config: str) -> None:
    environ = environ_with(tmp_path / "docker", config)
    with pytest.raises(UserError) as caught:
        Registry.connect("localhost:1", environ)
    assert caught.value.message == f"the Docker configuration {tmp_path}/docker/config.json cannot be read"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "*/uploads/*", times=2),
        Fault("PUT", "*/uploads/*", times=3, status=502),
        Fault("HEAD", times=2),
        Fault("POST", times=2, status=500),
        Fault("PUT", "*/manifests/*", times=2, status=503, headers={"Retry-After": "0"}),
    ],
    ids=str,
)
def test_what_fails_for_a_moment_is_repeated(store: BlobStore, nobody: Mapping[str, str], fault: Fault) -> None:
    image = image_of(store, "chat")
    moved: list[int] = []
    with FakeRegistry(faults=[fault]) as registry:
        pusher = Pusher(Registry.connect(registry.name, nobody), store)
        assert sizes(pusher.push(image, "team/chat", "1", moved.append)) == (blob_bytes(image), 0, 0)
        assert registry.manifests["team/chat"]["1"][1] == image.manifest
    assert sum(moved) == blob_bytes(image)


def test_an_interrupt_does_not_wait_for_an_answer(store: BlobStore, nobody: Mapping[str, str]) -> None:
    with FakeRegistry(faults=[Fault("PUT", hangs=True)]) as registry:
        crew = Crew(Registry.connect(registry.name, nobody), "team/chat")
        body = BlobBody(lambda: io.BytesIO(b"x"), 1, ignore, threading.Event())
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt), crew:  # noqa: PT012  # that is what may take long
            crew.submit(lambda at, _: at.put_blob(digest_of(b"x"), body))
            assert registry.hanging.wait(10)
            raise KeyboardInterrupt
        assert time.monotonic() - begun < 20


def test_a_killed_push_goes_on_behind_the_last_whole_blob(store: BlobStore, nobody: Mapping[str, str]) -> None:
    image = image_of(store, "chat")
    store.save_image("chat", image)
    program = """
import os, sys
from pathlib import Path
from builders.images.registry import Pusher
from builders.images.repository import Registry
from builders.images.store import BlobStore
store = BlobStore(Path(sys.argv[2]))
Pusher(Registry.connect(sys.argv[1], os.environ), store).push(store.image("chat"), "team/chat", "1")
"""
    with FakeRegistry(faults=[Fault("PUT", "*/manifests/*", times=1, hangs=True)]) as registry:
        command = [sys.executable, "-c", program, registry.name, str(store.root)]
        with subprocess.Popen(command, env={**os.environ, **nobody}) as killed:
            assert registry.hanging.wait(60)
            killed.kill()
        assert "1" not in registry.manifests.get("team/chat", {})
        assert sizes(push(registry, store, image, nobody)) == (0, 0, blob_bytes(image))


def test_a_layer_that_has_changed_in_the_cache_is_told(
    store: BlobStore, tmp_path: Path, nobody: Mapping[str, str]
) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(1000))
    layer, _ = store.layer("a", lambda: {"/models/a": File(weights, lasting=True)}, purpose="weights")
    image = Image.of(ImageConfig(), [layer])
    for spoil in (lambda: weights.write_bytes(bytes(10)), weights.unlink):
        spoil()
        with FakeRegistry() as registry, pytest.raises(UserError) as caught:
            push(registry, store, image, nobody)
        assert caught.value.message == "a layer is no longer in the cache as it was built"
