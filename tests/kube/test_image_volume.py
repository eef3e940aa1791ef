"""Tasks whose weights are mounted from an image of their own: pushed, exported, fetched and run as exported."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders import trial
from builders.verifying import FIELDS
from infra.kubernetes.yaml_text import yaml_text
from services.wire import PREDICT_PATH, TaskRequest, encode_text
from tests.docker.product import COMMAND, TIMEOUT_S, Product
from tests.docker.registry import real_registry
from tests.infra.kubernetes.tools import by_name, kustomize
from tests.kube.podman import SCRIPT, Podman, podman_in

# Beside the other tests of containers, and not beside those that measure time.
pytestmark = [pytest.mark.kube, pytest.mark.docker, pytest.mark.timeout(TIMEOUT_S)]

TASKS = {"task-chat": "chat-completion", "task-writer": "text-generation"}
"""Both over one model."""
READY_S = 120
ANSWER_S = 60


@dataclass(frozen=True)
class Node:
    """A podman with nothing but the images of the component. pods: the spec of each task's pods."""

    podman: Podman
    pods: dict[str, dict[str, Any]]

    def run(self, name: str, *options: str) -> dict[str, Any]:
        """Start a task's image as its pod says, without a network, and ask it one thing; what the trial of it says."""
        pod = self.pods[name]
        (container,) = pod["containers"]
        request = TaskRequest("1", dict(FIELDS[TASKS[name]]), seed=0, stream=False)
        command = json.loads(self.podman.run("image", "inspect", local(container["image"])))[0]["Config"]["Entrypoint"]
        asked = {
            "method": "POST",
            "path": PREDICT_PATH,
            "headers": {"Content-Type": "application/json"},
            "body": encode_text(request.to_json()),
            "port": container["ports"][0]["containerPort"],
            "ready_s": READY_S,
            "answer_s": ANSWER_S,
        }
        security = {**pod["securityContext"], **container["securityContext"]}
        said = self.podman.run(
            *("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"),
            *("--security-opt", "no-new-privileges", "--user", f"{security['runAsUser']}:{security['runAsGroup']}"),
            *options,
            *("--entrypoint", json.dumps(["python3", "-P", "-c", Path(trial.__file__).read_text("utf-8")])),
            local(container["image"]),
            json.dumps({**asked, "command": command}),
            timeout_s=READY_S + ANSWER_S,
        )
        found: dict[str, Any] = json.loads(said.splitlines()[-1])[trial.MARK]
        return found

    def mounts(self, name: str) -> list[str]:
        """The volumes of a pod that are images, as podman is told of them."""
        images = {each["name"]: each["image"]["reference"] for each in self.pods[name]["volumes"] if "image" in each}
        (container,) = self.pods[name]["containers"]
        return [
            f"--mount=type=image,source={local(images[each['name']])},destination={each['mountPath']}"
            for each in container["volumeMounts"]
            if each["name"] in images
        ]


def local(reference: str) -> str:
    """podman takes a tag or a digest, and not both."""
    name, _, digest = reference.partition("@")
    return f"{name.rpartition(':')[0]}@{digest}"


@pytest.fixture(scope="module")
def node(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    podman = podman_in(folder / "podman")
    with real_registry(folder) as registry:
        command(product, "push", registry.name, "chat", "writer", "--image-volumes")
        tree = folder / "kubernetes"
        command(product, "export", "kubernetes", "--output", str(tree), "--registry", registry.name)
        mine = tree / "overlays" / "mine"
        mine.mkdir()
        kustomization = {"resources": ["../../base"], "components": ["../../components/image-volume"]}
        (mine / "kustomization.yaml").write_text(yaml_text(kustomization))
        objects = by_name(kustomize(mine))
        pods = {name: objects["Deployment", name]["spec"]["template"]["spec"] for name in TASKS}
        try:
            for spec in pods.values():
                images = [each["image"]["reference"] for each in spec["volumes"] if "image" in each]
                for reference in (*images, *(each["image"] for each in spec["containers"])):
                    podman.run("pull", "--quiet", "--tls-verify=false", local(reference), timeout_s=TIMEOUT_S)
            yield Node(podman, pods)
        finally:
            subprocess.run(
                [SCRIPT, "reset"], env={"PODMAN_FOLDER": str(podman.folder)}, check=True, capture_output=True
            )


def command(product: Product, *arguments: str) -> str:
    ended = subprocess.run(
        [COMMAND, *arguments],
        cwd=product.folder,
        env={**product.environment, "DOCKER_CONFIG": str(product.folder / "nobody")},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("name", TASKS)
def test_a_task_answers_with_its_weights_mounted(node: Node, name: str) -> None:
    said = node.run(name, *node.mounts(name))
    assert said == {"ready_s": said["ready_s"], "status": 200, "type": "done"}


def test_two_tasks_over_one_model_mount_one_image(node: Node) -> None:
    assert node.mounts("task-chat") == node.mounts("task-writer")
    ids = set(node.podman.run("images", "--quiet", "--no-trunc").split())
    assert len(ids) == len(TASKS) + 1


def test_the_weights_are_nowhere_but_in_the_volume(node: Node) -> None:
    said = node.run("task-chat")
    assert set(said) == {"problem"}
    assert "ended with exit status" in said["problem"]
