"""Two tasks, router and page from their exported files, each in a real pod: restricted as written, asked and killed.

podman stands for the nodes of a cluster: it runs the pods and starts again what dies. `Cluster` stands for the rest.
"""

import json
import re
import shlex
import subprocess
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from infra.docker.engine import Engine
from infra.policy.objects import amount
from tests.docker.product import TIMEOUT_S
from tests.kube.cluster import Cluster
from tests.kube.load import AUTHORIZATION, NOBODY, RUNS, Load, ask_run
from tests.kube.project import TOKEN

# `docker` too, so that they compute beside other tests of containers, and not beside tests that measure time.
pytestmark = [pytest.mark.kube, pytest.mark.docker, pytest.mark.timeout(TIMEOUT_S)]

PODS = ["task-chat", "task-labels", "router", "page"]
HTTP_DOCUMENT = Path(__file__).parents[2] / "docs" / "http.md"

WALL = "model-compose-test-wall"
SMALL = ["kill task-chat", "evict task-labels", "evict router"]
FULL = [
    *("kill task-chat", "lose task-chat", "evict task-chat", "evict router", "kill task-labels"),
    *("lose task-labels", "evict task-labels", "lose task-chat", "evict router", "kill task-chat"),
]
"""What ends which pod, one after the other."""

LOOK = """
import json, os, re
status = dict(re.findall(r"^(\\w+):\\s+(\\S+)", open("/proc/1/status").read(), re.MULTILINE))
written = {}
for folder in ("/", "/opt", "/tmp", "/var/lib/model-compose"):
    path = os.path.join(folder, "written")
    try:
        open(path, "w").close()
        os.remove(path)
        written[folder] = "yes"
    except OSError as error:
        written[folder] = os.strerror(error.errno)
print(json.dumps({"status": status, "written": written, "environment": dict(os.environ)}))
"""


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_as_restricted_as_its_file_says(cluster: Cluster, name: str) -> None:
    pod = cluster.pods[name]
    seen = json.loads(cluster.execute(name, LOOK))
    security = {**pod.spec["securityContext"], **pod.container["securityContext"]}
    assert (security["runAsUser"], security["runAsGroup"]) == (10001, 10001)
    status = {key: seen["status"][key] for key in ("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")}
    none = "0" * 16
    assert status == {
        "Uid": "10001",
        "Gid": "10001",
        "CapEff": none,
        "CapBnd": none,
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    kept = {"/var/lib/model-compose": "yes"} if name == "router" else {}
    other = {"/var/lib/model-compose": "No such file or directory", "/opt": "Read-only file system"}
    assert seen["written"] == {"/": "Read-only file system", "/tmp": "yes", **other, **kept}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_the_limits_the_settings_and_the_image_of_its_file(cluster: Cluster, name: str) -> None:
    pod = cluster.pods[name]
    found = cluster.podman.inspect(pod.played_container)
    limits = pod.container["resources"]["limits"]
    host = found["HostConfig"]
    assert (host["Memory"], host["NanoCpus"]) == (amount(limits["memory"]), amount(limits["cpu"]) * 1e9)
    assert (host["RestartPolicy"]["Name"], host["PortBindings"]) == ("always", {})
    assert found["ImageName"] == f"localhost/{pod.container['image']}"
    environment = dict(each.split("=", 1) for each in found["Config"]["Env"])
    settings = next(document for document in pod.documents if document["metadata"]["name"].startswith(f"{name}-"))
    assert settings["kind"] == "ConfigMap"
    assert settings["data"].items() <= environment.items()
    secret = TOKEN if name in ("router", "page") else None
    assert environment.get("API_TOKEN") == secret


@pytest.mark.parametrize("name", PODS)
def test_a_pod_passes_its_three_probes(cluster: Cluster, name: str) -> None:
    assert [cluster.passes(name, probe) for probe in ("startupProbe", "readinessProbe", "livenessProbe")] == [True] * 3


def documented_curl() -> list[str]:
    """The first command of the document that asks for a run."""
    found = re.search(
        rf"^curl .*http://localhost:8080{RUNS} .*$", HTTP_DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert found
    return shlex.split(found[0])


def test_the_documented_curl_is_answered_by_both_tasks(cluster: Cluster) -> None:
    place = f"localhost:8080:{cluster.address('router')}:8080"  # as `kubectl port-forward` would
    added = ["--connect-to", place, "--header", f"Authorization: Bearer {TOKEN}"]
    ended = subprocess.run([*documented_curl(), *added], check=True, capture_output=True, timeout=60)
    run: dict[str, Any] = json.loads(ended.stdout)
    assert run["status"] == "completed", run
    assert run["output"].keys() == {"generated", "label"}
    assert re.fullmatch(r"LABEL_[01]", run["output"]["label"])
    assert run["usage"]["completion_tokens"] == 24


def test_without_the_token_of_the_secret_nobody_is_answered(cluster: Cluster) -> None:
    answer = cluster.ask("router", RUNS, '{"input": {}}', **{"Content-Type": "application/json"})
    assert answer.status == HTTPStatus.UNAUTHORIZED


def test_the_page_shows_the_workflows_of_the_router(cluster: Cluster) -> None:
    assert cluster.ask("page", "/").status == HTTPStatus.OK  # 503 as long as the router has not told it of any
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    cookie = cluster.ask("page", "/login", f"username=me&password={TOKEN}", **form).headers["set-cookie"]
    shown = cluster.ask("page", "/config", Cookie=cookie.partition(";")[0])
    assert "Answer and judge" in shown.body.decode()


def test_containers_that_may_not_leave_their_network_do_not_reach_a_pod(
    cluster: Cluster, docker: Engine, fake_image: str
) -> None:
    """Docker's walls stand beside podman's rules, which let its own pods out and in."""
    program = f"import socket; socket.create_connection(('{cluster.address('router')}', 8080), 3)"
    codes = {}
    for internal in (False, True):
        docker.make_network(WALL, WALL, internal=internal)
        try:
            options = ["--rm", "--network", WALL, "--entrypoint", "python3"]
            ended = subprocess.run(["docker", "run", *options, fake_image, "-c", program], timeout=60, check=False)
            codes[internal] = ended.returncode
        finally:
            docker.remove_networks(WALL)
    assert codes == {False: 0, True: 1}


def troubles(cluster: Cluster) -> float:
    """How many requests to tasks have failed for the router since it started; its runs may have gone on."""
    metrics = cluster.ask("router", "/metrics", **AUTHORIZATION).body.decode()
    counted = r"^model_compose_task_request_duration_seconds_count\{.*status=\"failed\"\} (\S+)$"
    return sum(map(float, re.findall(counted, metrics, re.MULTILINE)))


@pytest.mark.parametrize(
    ("clients", "steps"),
    [(8, SMALL), pytest.param(16, FULL, marks=pytest.mark.soak)],
    ids=["small", "full"],
)
def test_no_accepted_run_is_lost_whatever_ends_a_pod(cluster: Cluster, clients: int, steps: list[str]) -> None:
    with Load(cluster, clients) as load:
        for step in steps:
            how, name = step.split()
            load.until_answered(clients)
            before = troubles(cluster)
            getattr(cluster, how)(name)
            cluster.until_ready(name)
            assert how != "kill" or troubles(cluster) > before  # it was computing when it ended
        load.until_answered(clients)
    allowed = {HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.SERVICE_UNAVAILABLE, NOBODY}
    assert set(load.answers) <= allowed, load.answers
    assert load.without_when == []
    assert set(load.ends()) == {"completed"}
    assert ask_run(cluster, "Are you still there?").status == HTTPStatus.OK
    assert cluster.ask("router", "/api/tasks/nobody", **AUTHORIZATION).status == HTTPStatus.NOT_FOUND
