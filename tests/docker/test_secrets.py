"""Whatever secret a build needs, it needs it only then: all of them are used, and none stands anywhere afterwards."""

import base64
import json
import os
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import pytest
import trustme

from builders.images.base import find_base
from builders.images.layout import Image, Platform
from builders.images.registry import Pusher
from builders.images.repository import Registry
from builders.images.store import BlobStore
from builders.lock import LOCK_FILE, Lock
from builders.packages.layer import PURPOSE
from builders.spec import stored_name
from tests.docker.leaks import CommandLines, leaks
from tests.docker.product import TIMEOUT_S, Product
from tests.hub import TOKEN, FakeHub, Fault
from tests.package_index import PackageIndex
from tests.registry import IDENTITY_TOKEN, FakeRegistry

pytestmark = [pytest.mark.docker, pytest.mark.timeout(TIMEOUT_S)]

COMMAND = Path(sys.executable).with_name("model-compose")
FILE = """
controller:
  auth: {token: "ROUTER_TOKEN"}
  database: "postgresql://me:${env.DB_PASSWORD}@host/db"
components:
  - id: chat
    type: model
    task: chat-completion
    model: {repository: acme/gated, token: "${env.MODEL_TOKEN}"}
    messages:
      - {role: system, content: "Never say ${env.WEATHER_KEY}."}
      - {role: user, content: "${input.text}"}
    params: {stop_sequences: ["${env.STOP_SECRET}"]}
"""


class Secrets:
    """One of each kind, never the same twice, so that nothing else on this machine can be taken for it."""

    def __init__(self) -> None:
        self.index_user, self.index_password = token_hex(12), token_hex(12)
        self.router_token, self.db_password = token_hex(12), token_hex(12)
        self.weather_key, self.stop_secret = token_hex(12), token_hex(12)
        self.of_the_model, self.authority = token_hex(12), token_hex(12)

    def needles(self) -> dict[str, str]:
        """All of them by name, and how they look on their way."""
        login = base64.b64encode(f"{self.index_user}:{self.index_password}".encode()).decode()
        return {**vars(self), "index_login": login, "hub_token": TOKEN, "identity_token": IDENTITY_TOKEN}


class Site:
    """A folder in which somebody builds, with a home and caches of its own; nothing in it is older than the build."""

    def __init__(self, folder: Path) -> None:
        from tests.models import make_model

        self.folder = folder
        self.secrets = Secrets()
        self.project, self.given = folder / "project", folder / "given"
        for place in (self.project, self.given, folder / "home", folder / "temporary"):
            place.mkdir(parents=True)
        (self.project / "model-compose.yml").write_text(FILE.replace("ROUTER_TOKEN", self.secrets.router_token))
        (self.project / ".env").write_text(f"DB_PASSWORD={self.secrets.db_password}\n")
        make_model("llama", self.given / "model")
        for name in (".env", ".credentials.json"):
            (self.given / "model" / name).write_text(json.dumps({"HF_TOKEN": self.secrets.of_the_model}))
        self.authority = self.given / f"{self.secrets.authority}.pem"
        self.store = BlobStore(folder / "cache" / "images")

    def tls(self) -> ssl.SSLContext:
        """The index's side; whoever wants to talk to it must have been told whom to trust."""
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        authority.cert_pem.write_to_path(self.authority)
        return context

    def serve_base(self, registry: FakeRegistry, base_tar: Path) -> str:
        """Have the base in a registry, and a login for it in the Docker configuration; returns its reference."""
        entry = {"identitytoken": IDENTITY_TOKEN}
        (self.given / "config.json").write_text(json.dumps({"auths": {registry.name: entry}}))
        theirs = BlobStore(self.folder.parent / "theirs")
        base = find_base(f"tar:{base_tar}", theirs, platform=Platform(), environ={})
        reached = Registry.connect(registry.name, {"DOCKER_CONFIG": str(self.given)})
        Pusher(reached, theirs).push(Image.of(base.config, base.layers), "team/base", "1")
        registry.requests.clear()
        return f"{registry.name}/team/base:1"

    def take_over_packages(self, product: Product) -> None:
        """A task's packages take a minute to install: have the layer that another project's build has made."""
        theirs = BlobStore.of(product.environment)
        image = theirs.image(stored_name(product.folder, product.reference("task-chat")))
        lock = Lock.read(product.folder / LOCK_FILE)
        assert image is not None
        assert lock is not None
        (layer,) = (layer for layer in image.layers if layer.purpose == PURPOSE)
        blob = theirs.path(layer.digest)
        assert blob is not None
        records = [path for path in (theirs.root / "layers").iterdir() if layer.digest in path.read_text()]
        for path in (blob, *records):
            here = self.store.root / path.relative_to(theirs.root)
            here.parent.mkdir(parents=True, exist_ok=True)
            here.hardlink_to(path)
        packages = {name: group for name, group in lock.packages.items() if name.startswith("task")}
        (self.project / LOCK_FILE).write_text(replace(lock, bases={}, models={}, packages=packages).text)

    def build(self, hub: FakeHub, index: PackageIndex, base: str) -> None:
        """Run the command with all that it needs; what it says is kept in a file."""
        secrets = self.secrets
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "temporary"),
            "HF_HOME": str(self.folder / "hub"),
            "UV_CACHE_DIR": str(self.folder / "uv"),
            "MODEL_COMPOSE_CACHE": str(self.store.root.parent),
            "DOCKER_CONFIG": str(self.given),
            "SSL_CERT_FILE": str(self.authority),
            "UV_DEFAULT_INDEX": index.url,
            "HF_ENDPOINT": hub.url,
            "MODEL_TOKEN": TOKEN,
            "WEATHER_KEY": secrets.weather_key,
            "STOP_SECRET": secrets.stop_secret,
        }
        with (self.folder / "said").open("w") as said:
            subprocess.run(
                [COMMAND, "--verbose", "build", "--base", base, "--no-verify", "--output", f"oci:{self.folder}/out"],
                cwd=self.project,
                env=environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_S,
                check=False,
            )

    def settings(self) -> dict[str, object]:
        """What the router's image tells the router."""
        image = self.store.image(stored_name(self.project, "project/router:latest"))
        assert image is not None, (self.folder / "said").read_text()
        *_, last = image.layers
        with self.store.open(last.digest) as blob:
            text = blob.read().decode(errors="replace")
        found: dict[str, object] = json.JSONDecoder().raw_decode(text, text.index('{"'))[0]
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.mark.parametrize("packages", ["of the router", pytest.param("of all", marks=pytest.mark.soak)])
def test_no_secret_of_a_build_is_left_anywhere(
    site: Site, base_tar: Path, request: pytest.FixtureRequest, packages: str
) -> None:
    secrets = site.secrets
    if packages == "of the router":
        site.take_over_packages(request.getfixturevalue("product"))
    with (
        PackageIndex(site.given / "wheels", site.tls(), secrets.index_user, secrets.index_password) as index,
        FakeHub({"acme/gated": site.given / "model"}, {"acme/gated": Fault("gated")}) as hub,
        FakeRegistry(auth="token") as registry,
    ):
        base = site.serve_base(registry, base_tar)
        with CommandLines() as lines:
            site.build(hub, index, base)

    assert site.settings()["withheld"] == {
        "auth_token": "MODEL_COMPOSE_AUTH_TOKEN",
        "database.url": "MODEL_COMPOSE_DATABASE_URL",
        "env.STOP_SECRET": "STOP_SECRET",
        "env.WEATHER_KEY": "WEATHER_KEY",
    }
    assert [path for path in index.admitted if path.startswith("/files/uvicorn-")]
    assert {request.token for request in hub.requests if "/resolve/" in request.path} == {TOKEN}
    assert IDENTITY_TOKEN in {request.proof for request in registry.requests}
    assert registry.asked("GET", "*/blobs/*")

    needles = secrets.needles()
    assert {name for name, needle in needles.items() for line in lines.all if needle in line} == set()
    assert leaks(needles, site.folder) == {
        ("router_token", "project/model-compose.yml"),
        ("db_password", "project/.env"),
        ("of_the_model", "given/model/.env"),
        ("of_the_model", "given/model/.credentials.json"),
        ("identity_token", "given/config.json"),
        ("authority", f"given/{secrets.authority}.pem"),
    }
