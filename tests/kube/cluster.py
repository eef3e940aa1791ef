"""What a cluster does with an export, done by podman and by hand: pods are played, probed, killed, evicted."""

import contextlib
import http.client
import os
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from infra.kubernetes.objects import Manifest
from tests.conformance.folder import wait_until
from tests.kube.manifests import Pod, playable, secret_text
from tests.kube.podman import Podman

LOAD_S = 300
READY_S = 120
ASK_S = 60
"""How long an answer may take that nobody is slow about on purpose: other tests have the processors too."""
WITHDRAWN_S = 1.0
"""How long a router that is evicted is not asked before it is told to end; `preStop` of the export gives it 10 s."""


@dataclass(frozen=True)
class Answer:
    """headers: by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NobodyThereError(ConnectionError):
    """Nothing was asked, because nobody took the connection."""


class Cluster:
    """Runs the Deployments of an overlay, one pod each, in a network where their names are the Services'.

    secrets: the values of the one Secret that the export refers to.
    """

    def __init__(self, podman: Podman, name: str, objects: Iterable[Manifest], secrets: Mapping[str, str]) -> None:
        self.podman = podman
        self._name = name
        self._playable = playable(objects)
        self._secrets = secrets
        self._addresses: dict[str, str] = {}
        self._asking = threading.Lock()
        self.pods = {pod.name: pod for pod in self._playable.pods}

    def load(self, layout: Path, tag: str) -> None:
        """Bring the images of an OCI layout in, under the names that the export has for them."""
        for pod in self.pods.values():
            reference: str = pod.container["image"]
            assert reference.endswith(f":{tag}")
            loaded = self.podman.run("pull", "--quiet", f"oci:{layout}:{reference}", timeout_s=LOAD_S)
            self.podman.run("tag", loaded, reference)
            self.podman.run("untag", loaded, f"localhost{layout}:latest")  # podman's own name for it

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Everything is ready inside the block, and gone after it, volumes too."""
        self._remove()
        self.podman.run("network", "create", self._name)
        self.podman.run("secret", "create", f"{self._name}-secrets", "-", given=secret_text(self._secrets))
        self.podman.run("kube", "play", "-", given=yaml.safe_dump_all(self._playable.claims))
        try:
            for pod in self.pods.values():
                self._play(pod)
            for pod in self.pods.values():
                self.until_ready(pod.name)
            yield
        finally:
            self._remove()

    def address(self, name: str) -> str | None:
        """Where a pod can be asked, if its Service would name it."""
        return self._addresses.get(name)

    def ask(self, name: str, path: str, body: str | None = None, **headers: str) -> Answer:
        """One request on a connection of its own, as a Service would pass it on. Raises ConnectionError."""
        pod = self.pods[name]
        with self._asking:  # who is withdrawn gets no request that it has not seen
            address = self.address(name)
            if address is None:
                raise NobodyThereError(name)
            connection = http.client.HTTPConnection(address, pod.port("http"), timeout=ASK_S)
            try:
                connection.connect()
            except OSError as error:
                raise NobodyThereError(name) from error
            connection.request("POST" if body else "GET", path, body, {"Host": "localhost", **headers})
        with contextlib.closing(connection):
            answer = connection.getresponse()
            return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())

    def passes(self, name: str, probe: str) -> bool:
        """Ask one of the three probes of a pod once, as the export describes it."""
        pod = self.pods[name]
        asked = pod.container[probe]
        get = asked["httpGet"]
        headers = {each["name"]: each["value"] for each in get.get("httpHeaders", ())}
        port, timeout_s = pod.port(get["port"]), asked["timeoutSeconds"]
        connection = http.client.HTTPConnection(self.address(name) or "", port, timeout=timeout_s)
        with contextlib.closing(connection):
            try:
                connection.request("GET", get["path"], headers=headers)
                return 200 <= connection.getresponse().status < 400
            except OSError:
                return False

    def until_ready(self, name: str) -> None:
        wait_until(lambda: self.passes(name, "readinessProbe"), timeout_s=READY_S)

    def restarts(self, name: str) -> int:
        """How often podman has started the pod's container again."""
        count: int = self.podman.inspect(self.pods[name].played_container)["RestartCount"]
        return count

    def execute(self, name: str, program: str) -> str:
        """What a Python program prints inside the pod's container."""
        return self.podman.run("exec", self.pods[name].played_container, "python3", "-S", "-c", program)

    def kill(self, name: str) -> None:
        """End a task's process by SIGKILL while it computes, as when memory runs out; its pod stays and starts it."""
        found = self.podman.inspect(self.pods[name].played_container)
        self._until_busy(name)
        os.kill(found["State"]["Pid"], signal.SIGKILL)
        wait_until(lambda: self.restarts(name) > found["RestartCount"])

    def lose(self, name: str) -> None:
        """End a task's pod and its network while it computes, as when its node goes, and play another one."""
        self._until_busy(name)
        self.podman.run("pod", "kill", self.pods[name].played_pod)
        self._replace(name)

    def evict(self, name: str) -> None:
        """End the pod as a drained node does, with the grace of the export, and play another one.

        Tasks are asked until they end, and a moment longer: the wait of `preStop`, which prevents that, is left out.
        """
        pod = self.pods[name]
        if name == "router":
            with self._asking:
                del self._addresses[name]
            time.sleep(WITHDRAWN_S)  # the wait of `preStop`: who is being accepted gets in
        # not `pod stop`, which takes the network away from a container that still answers
        self.podman.run("stop", "--time", str(pod.grace_s), pod.played_container, timeout_s=pod.grace_s + 60)
        self._replace(name)

    def _until_busy(self, name: str) -> None:
        def computes() -> bool:
            metrics = self.ask(name, "/metrics").body.decode()
            (active,) = re.findall(r"^model_compose_task_active_requests\{.*\} (\S+)$", metrics, re.MULTILINE)
            return float(active) > 0

        wait_until(computes)

    def _replace(self, name: str) -> None:
        pod = self.pods[name]
        self.podman.run("pod", "rm", "--force", pod.played_pod)
        self._play(pod)

    def _play(self, pod: Pod) -> None:
        network = f"{self._name}:alias={pod.name}"
        self.podman.run("kube", "play", "--network", network, "-", given=yaml.safe_dump_all(pod.documents))
        seen = self.podman.inspect(pod.played_container)
        self._addresses[pod.name] = seen["NetworkSettings"]["Networks"][self._name]["IPAddress"]

    def _remove(self) -> None:
        """What this or an earlier, killed test has left."""
        self._addresses.clear()
        played = [pod.played_pod for pod in self.pods.values()]
        self.podman.run("pod", "rm", "--force", "--time", "0", "--ignore", *played)
        claims = [each["metadata"]["name"] for each in self._playable.claims]
        volumes = {*claims, *(volume for pod in self.pods.values() for volume in pod.volumes)}
        for volume in volumes & set(self.podman.run("volume", "ls", "--quiet").split()):
            self.podman.run("volume", "rm", volume)
        if f"{self._name}-secrets" in self.podman.run("secret", "ls", "--format", "{{.Name}}").split():
            self.podman.run("secret", "rm", f"{self._name}-secrets")
        self.podman.run("network", "rm", "--force", self._name)
        self.podman.run("image", "prune", "--force")
