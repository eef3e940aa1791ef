"""An exported file in `docker compose` v2: it runs, and its containers are those of `up --runtime docker`."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pytest_docker.plugin import Services

from compose.commands.container_run import plan_containers
from compose.loader import load_spec
from compose.surroundings import surroundings, tracing
from infra.docker.container import Container, Network, network_name, volume_name
from infra.docker.engine import Engine
from tests.docker.fake_image import remove_volumes
from tests.docker.product import COMMAND, TIMEOUT_S, build
from tests.e2e.project import Answer, ask
from tests.net import free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(TIMEOUT_S)]

TOKEN = "token-of-the-pair"
FILE = """
controller:
  adapter: {{type: http-server, host: localhost, port: {port}}}
  auth: {{token: "${{env.API_TOKEN}}"}}
  webui: {{port: {page_port}}}
  runtime: {{environment: {{PRICE: "$5"}}}}
components:
  - id: chat
    type: model
    task: chat-completion
    model: ./chat
    resources: {{cpu: 1500m, memory: 2Gi}}
    action: {{params: {{max_output_length: 8}}}}
  - {{id: labels, type: model, task: text-classification, model: ./labels, runtime: {{stop_timeout: 7}}}}
workflows:
  - {{id: chat, jobs: [{{id: answer, component: chat}}]}}
  - {{id: labels, jobs: [{{id: label, component: labels}}]}}
"""
INSIDE = """
import json, os
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "uid": os.getuid(),
    **{name: int(status[name], 16) for name in ("CapEff", "CapBnd", "NoNewPrivs")},
    "writable": [path for path in ("/", "/opt", "/etc", "/tmp", "/models") if os.access(path, os.W_OK)],
    "PRICE": os.environ["PRICE"],
}))
"""
NETWORKS: tuple[Network, ...] = ("tasks", "front")
SERVICES = {"chat": "task-chat", "labels": "task-labels", "router": "router", "page": "page"}


@dataclass(frozen=True)
class Pair:
    """A project of two tasks, whose images the engine has; its token is in `.env`, where both tools find it."""

    folder: Path
    environment: dict[str, str]
    port: int
    page_port: int

    @property
    def images(self) -> dict[str, str]:
        """By service."""
        return {service: f"{self.folder.name}/{host}:latest" for service, host in SERVICES.items()}

    @property
    def file(self) -> Path:
        return self.folder / "compose.yaml"

    def command(self, *arguments: str | Path, cwd: Path | None = None, code: int = 0) -> str:
        """What it prints on both of its streams."""
        done = subprocess.run(
            arguments,
            cwd=cwd or self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def run(self, workflow: str, values: dict[str, str], token: str) -> Answer:
        """A run through the router."""
        return ask(
            urllib.request.Request(
                f"http://localhost:{self.port}/api/workflows/runs",
                json.dumps({"workflow_id": workflow, "input": values}).encode(),
                {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
            )
        )


@pytest.fixture(scope="session")
def pair(
    engine: str, base_tar: Path, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    from tests.encoders import make_encoder
    from tests.models import make_model

    folder = tmp_path_factory.mktemp("compose") / f"pair-{os.getpid()}"
    make_model("llama", folder / "chat")
    make_encoder("distilbert", folder / "labels", labels=2)
    port, page_port = free_port(), free_port()
    (folder / "model-compose.yml").write_text(FILE.format(port=port, page_port=page_port), encoding="utf-8")
    (folder / ".env").write_text(f"API_TOKEN={TOKEN}\n", encoding="utf-8")
    made = Pair(
        folder,
        {
            **os.environ,
            "DOCKER_HOST": engine,
            "MODEL_COMPOSE_BASE": str(base_tar),
            "MODEL_COMPOSE_CACHE": str(pytestconfig.cache.mkdir("images")),
        },
        port,
        page_port,
    )
    build(folder, made.environment, "--no-verify")
    made.command(COMMAND, "export", "compose", "-o", "compose.yaml")
    yield made
    made.command("docker", "image", "rm", *made.images.values())


@pytest.fixture(scope="session")
def docker_compose_file(pair: Pair) -> str:
    return str(pair.file)


@pytest.fixture(scope="session")
def docker_compose_project_name(pair: Pair) -> str:
    return pair.folder.name


@pytest.fixture(scope="session")
def docker_setup() -> str:
    return "up --wait"


def test_the_router_and_the_page_answer(docker_services: Services, pair: Pair) -> None:
    assert docker_services.port_for("router", 8080) == pair.port
    refused = pair.run("chat", {"user_prompt": "Hello"}, "another token")
    assert refused.status == 401
    chat = pair.run("chat", {"user_prompt": "Hello"}, TOKEN)
    assert (chat.status, chat.body["status"]) == (200, "completed")
    labels = pair.run("labels", {"text": "Hello"}, TOKEN)
    assert set(labels.body["output"]) >= {"label", "score"}
    with urllib.request.urlopen(f"http://localhost:{pair.page_port}/", timeout=60) as page:
        assert (page.status, page.headers.get_content_type()) == (200, "text/html")


def test_its_containers_are_those_of_up(docker_services: Services, pair: Pair, docker: Engine) -> None:
    loaded = load_spec(environ={"API_TOKEN": TOKEN}, directory=pair.folder)
    _, run = plan_containers(loaded, pair.images, docker)
    project = run.project
    with ExitStack() as stack:
        docker.make_volume(project, volume_name(project, "runs"))
        stack.callback(remove_volumes, docker, pair.folder)
        stack.callback(docker.remove_networks, project)
        for name in NETWORKS:
            docker.make_network(project, network_name(project, name), internal=name == "tasks")
            assert (
                differences(
                    network_settings(docker, network_name(project, name)),
                    network_settings(docker, f"{pair.folder.name}_{name}"),
                )
                == {}
            )
        for container in map(without_surroundings, run.containers):
            made = docker.create(container.service, container.name(project), container.config(project))
            stack.callback(docker.remove, made)
            for network in container.networks[1:]:
                docker.join(container.service, made, network_name(project, network), container.host_name)
            exported = f"{pair.folder.name}-{container.host_name}-1"
            assert differences(
                container_settings(docker, made, f"{project}-", container.host_name),
                container_settings(docker, exported, f"{pair.folder.name}_", container.host_name),
            ) == {"HostConfig.RestartPolicy.Name": ("no", "unless-stopped")}, "there is no `up` that starts it again"


def without_surroundings(container: Container) -> Container:
    """What `up` tells of this machine belongs into no exported file."""
    told = surroundings(os.environ) | tracing(os.environ)
    kept = {name: value for name, value in container.environment.items() if name not in told}
    return replace(container, environment=kept)


def network_settings(docker: Engine, name: str) -> dict[str, Any]:
    found = docker.client.inspect_network(name)
    return {key: found[key] for key in ("Driver", "EnableIPv6", "Internal", "Attachable", "Options")}


def container_settings(docker: Engine, container: str, prefix: str, alias: str) -> dict[str, Any]:
    """What was asked of the engine. prefix: of the project's networks and volumes, which is taken off."""
    found = json.loads(json.dumps(docker.client.inspect_container(container)).replace(f'"{prefix}', '"'))
    config = {
        key: value for key, value in found["Config"].items() if key not in ("AttachStdout", "AttachStderr", "Labels")
    }
    return {
        "Config": {**config, "Env": sorted(config["Env"])},
        "HostConfig": found["HostConfig"],
        "Networks": {name: alias in joined["Aliases"] for name, joined in found["NetworkSettings"]["Networks"].items()},
    }


def differences(ours: Any, theirs: Any, place: str = "") -> dict[str, tuple[Any, Any]]:
    """By place; that nothing is written in one way or the other makes none."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for key in sorted(ours.keys() | theirs.keys()):
            found |= differences(ours.get(key), theirs.get(key), f"{place}.{key}".lstrip("."))
        return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return differences(dict(enumerate(ours)), dict(enumerate(theirs)), place)
    return {} if ours == theirs or not (ours or theirs) else {place: (ours, theirs)}


def test_what_the_file_forbids_is_forbidden(docker_services: Services, pair: Pair, docker: Engine) -> None:
    given = docker.client.inspect_container(f"{pair.folder.name}-task-chat-1")["HostConfig"]
    assert (given["NanoCpus"], given["Memory"], given["MemorySwap"]) == (1_500_000_000, 2 * 2**30, 2 * 2**30)
    assert network_settings(docker, f"{pair.folder.name}_tasks")["Internal"]
    seen = json.loads(pair.command("docker", "compose", "exec", "-T", "task-chat", "python3", "-c", INSIDE))
    assert seen == {"uid": 10001, "CapEff": 0, "CapBnd": 0, "NoNewPrivs": 1, "writable": ["/tmp"], "PRICE": "$5"}


def test_no_secret_is_in_the_file_and_none_is_done_without(pair: Pair) -> None:
    assert TOKEN not in pair.file.read_text(encoding="utf-8")
    said = pair.command("docker", "compose", "--env-file", os.devnull, "config", code=15)
    assert "API_TOKEN" in said
    assert TOKEN in pair.command("docker", "compose", "config")


def test_docker_compose_reads_the_file_as_it_writes_it(pair: Pair, tmp_path: Path) -> None:
    once = pair.command("docker", "compose", "config")
    (tmp_path / "compose.yaml").write_text(once, encoding="utf-8")
    assert pair.command("docker", "compose", "config", cwd=tmp_path) == once


def test_a_second_export_is_the_same_to_the_byte(pair: Pair, tmp_path: Path) -> None:
    again = tmp_path / "again.yaml"
    pair.command(COMMAND, "-f", pair.folder / "model-compose.yml", "export", "compose", "-o", again, cwd=tmp_path)
    assert again.read_bytes() == pair.file.read_bytes()
    assert str(pair.folder) not in again.read_text(encoding="utf-8")
