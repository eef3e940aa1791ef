from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from compose.cli import cli
from compose.commands.export_compose import compose_yaml
from infra.errors import ExitCode, UserError
from tests.compose.loading import load

pytestmark = pytest.mark.unit

FILE = """
controller:
  host: localhost
  port: 9000
  auth: {token: "${env.API_TOKEN}"}
  runtime: {environment: {MY_KEY: key-sentinel, LOG: "a$b"}}
component:
  id: writer
  type: model
  task: text-generation
  model: ./model
  resources: {cpu: 500m, memory: 2Gi, gpu: 1}
  runtime: {start_timeout: 2m, stop_timeout: 5}
"""
EVERY = {
    "user": "10001:10001",
    "init": True,
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "tmpfs": ["/tmp:rw,nosuid,nodev,noexec,size=512m,mode=1777"],
    "pids_limit": 2048,
    "restart": "unless-stopped",
    "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
}


def check(port: int, path: str) -> dict[str, object]:
    test = ["CMD", "python3", "-P", "-S", "-m", "services.healthcheck", str(port), path]
    return {"test": test, "interval": "10s", "timeout": "20s", "retries": 3, "start_period": "120s"}


def test_the_file_says_what_up_runs_and_no_secret(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    text = compose_yaml(load(folder, FILE, API_TOKEN="token-sentinel"), "v1")
    assert "sentinel" not in text
    assert yaml.safe_load(text) == {
        "name": "shop",
        "services": {
            "task-writer": {
                **EVERY,
                "image": "shop/task-writer:v1",
                "hostname": "task-writer",
                "environment": {"LOG": "a$$b", "MY_KEY": "${MY_KEY:?}"},
                "networks": ["tasks"],
                "dns": ["127.0.0.1"],
                "cpus": 0.5,
                "mem_limit": 2147483648,
                "memswap_limit": 2147483648,
                "deploy": {
                    "resources": {
                        "reservations": {"devices": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}
                    }
                },
                "healthcheck": check(3000, "/readyz"),
                "stop_grace_period": "5s",
            },
            "router": {
                **EVERY,
                "image": "shop/router:v1",
                "hostname": "router",
                "environment": {"API_TOKEN": "${API_TOKEN:?}", "LOG": "a$$b", "MY_KEY": "${MY_KEY:?}"},
                "networks": ["front", "tasks"],
                "ports": [{"host_ip": "127.0.0.1", "published": "9000", "target": 8080}],
                "volumes": ["runs:/var/lib/model-compose"],
                "healthcheck": {**check(8080, "/livez"), "start_period": "600s"},
                "stop_grace_period": "35s",
            },
        },
        "networks": {
            "tasks": {"internal": True, "driver_opts": {"com.docker.network.bridge.inhibit_ipv4": "true"}},
            "front": {},
        },
        "volumes": {"runs": {}},
    }


def environment_of(tmp_path: Path, written: str, **environ: str) -> dict[str, str]:
    """A task's variables in the exported file, when the file gives it one more."""
    text = FILE.replace("MY_KEY: key-sentinel", f"VALUE: {written}")
    document = yaml.safe_load(compose_yaml(load(tmp_path, text, API_TOKEN="token-sentinel", **environ), "v1"))
    found: dict[str, str] = document["services"]["task-writer"]["environment"]
    return found


@pytest.mark.parametrize(
    ("written", "exported"),
    [
        ("'postgres://me:${env.DB_PASSWORD}@db/${env.DB_NAME}'", "postgres://me:${DB_PASSWORD:?}@db/shop"),
        ("'${env.DB_PASSWORD}${env.OTHER_KEY}'", "${DB_PASSWORD:?}${OTHER_KEY:?}"),
        ("'$5'", "$$5"),
    ],
)
def test_a_secret_within_a_variable_becomes_a_reference(tmp_path: Path, written: str, exported: str) -> None:
    secrets = {"DB_PASSWORD": "pa$$word|.*", "OTHER_KEY": "pa$$word|.*|longer", "DB_NAME": "shop"}
    assert environment_of(tmp_path, written, **secrets) == {"LOG": "a$$b", "VALUE": exported}


@pytest.mark.parametrize(
    ("written", "exported"), [("localhost", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("'::1'", "::1"), ("'[::1]'", "::1")]
)
def test_ports_are_published_at_addresses(tmp_path: Path, written: str, exported: str) -> None:
    document = yaml.safe_load(
        compose_yaml(load(tmp_path, FILE.replace("host: localhost", f"host: {written}"), API_TOKEN="x"), "v1")
    )
    assert document["services"]["router"]["ports"] == [{"host_ip": exported, "published": "9000", "target": 8080}]


def test_a_name_is_not_looked_up_on_this_machine(tmp_path: Path) -> None:
    loaded = load(tmp_path, FILE.replace("host: localhost", "host: box.local"), API_TOKEN="x")
    with pytest.raises(UserError) as caught:
        compose_yaml(loaded, "v1")
    assert (caught.value.message, caught.value.exit_code) == (
        "`box.local`, where router listens, is a name, and docker compose publishes at addresses only",
        ExitCode.FILE,
    )


def test_the_page_comes_after_the_router(tmp_path: Path) -> None:
    document = yaml.safe_load(compose_yaml(load(tmp_path, FILE.replace("port: 9000", "webui:"), API_TOKEN="x"), "v1"))
    assert document["services"]["page"]["depends_on"] == ["router"]


def test_it_is_printed_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model-compose.yml").write_text("component: {type: model, task: text-generation, model: a/b}")
    printed = CliRunner().invoke(cli, ["export", "compose"])
    written = CliRunner().invoke(cli, ["export", "compose", "-o", "compose.yaml"])
    assert written.stdout == "wrote compose.yaml; next: docker compose -f compose.yaml up --wait\n"
    assert (tmp_path / "compose.yaml").read_text() == printed.stdout
    refused = CliRunner().invoke(cli, ["export", "compose", "-o", "no/where.yaml"])
    assert (refused.exit_code, refused.stderr.splitlines()[0]) == (
        4,
        "error: no/where.yaml cannot be written: no such file or directory",
    )
