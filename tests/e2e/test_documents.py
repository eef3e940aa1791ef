"""Every command in the documents runs as written, and prints what they show."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from builders.lock import LOCK_FILE
from tests.cluster.api import FakeCluster
from tests.docker.registry import real_registry
from tests.e2e.conftest import ROOT
from tests.e2e.documents import Reader, is_shown, programs
from tests.skipping import skip

pytestmark = [pytest.mark.readme, pytest.mark.timeout(600), pytest.mark.usefixtures("default_ports")]

# A translation has the commands of its original; tests/test_documents.py compares them.
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md")
    for path in sorted(ROOT.glob(pattern))
    if programs(path) and not path.name.endswith(".ko.md")
]

IN_CONTAINERS = ("docs/images.md",)
"""These want an engine; layers of packages are kept for them from one session to the next."""

EDITED = "a helpful assistant"
"""What their example edits, and counts the new layers."""

ON_A_CLUSTER = ("docs/kubernetes.md",)
"""These want a registry, kubectl and a cluster that it asks."""

CONTAINERS = "In containers"
"""Sections of this name want one too; test_examples.py runs them."""

RUN_BY_CI = ("make test\n",)
"""These would run this very test."""


def _each(path: Path) -> Any:
    name = str(path.relative_to(ROOT))
    return pytest.param(path, id=name, marks=pytest.mark.docker if name in IN_CONTAINERS else ())


@pytest.fixture
def cluster(
    base_tar: Path, checkout: Path, environment: dict[str, str], tmp_path: Path, pytestconfig: pytest.Config
) -> Iterator[dict[str, str]]:
    """What a reader has on the way to a cluster: a registry and the cluster's API, and a lock that names a base."""
    if shutil.which("kubectl") is None:
        skip("there is no kubectl")
    environment["MODEL_COMPOSE_CACHE"] = str(pytestconfig.cache.mkdir("images"))
    build = ["model-compose", "build", "router", "--base", f"tar:{base_tar}", "--no-verify"]
    quickstart = shutil.copytree(checkout / "examples" / "quickstart", tmp_path / "quickstart")
    subprocess.run(build, cwd=quickstart, env=environment, check=True, capture_output=True, timeout=400)
    (checkout / "docs" / "shop").mkdir()
    shutil.copy(quickstart / LOCK_FILE, checkout / "docs" / "shop")
    with real_registry(tmp_path) as registry, FakeCluster() as api:
        yield {
            "REGISTRY": f"{registry.name}/me",
            "KUBECONFIG": api.configure(tmp_path / "kubeconfig"),
            "KUBECACHEDIR": str(tmp_path / "kube"),
        }


@pytest.fixture
def unbuilt(checkout: Path) -> Iterator[None]:
    """The quickstart with a prompt of this test alone: no session before has left a layer with it, or with an edit of
    it."""
    file = checkout / "examples" / "quickstart" / "model-compose.yml"
    before = file.read_text(encoding="utf-8")
    assert before.count(EDITED) == 1
    file.write_text(before.replace(EDITED, f"{EDITED} of {uuid4()}"), encoding="utf-8")
    yield
    file.write_text(before, encoding="utf-8")


@pytest.mark.parametrize("document", [_each(path) for path in DOCUMENTS])
def test_every_command_works(
    document: Path, checkout: Path, environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = str(document.relative_to(ROOT))
    if name in IN_CONTAINERS:
        environment["DOCKER_HOST"] = request.getfixturevalue("engine")
        environment["MODEL_COMPOSE_CACHE"] = str(request.config.cache.mkdir("images"))
        request.getfixturevalue("unbuilt")
    if name in ON_A_CLUSTER:
        environment |= request.getfixturevalue("cluster")
    folder = (checkout / name).parent
    with Reader(folder, environment, tmp_path / "up.log") as reader:
        for block in programs(document):
            if block.section == CONTAINERS:
                continue
            if block.text in RUN_BY_CI:
                assert block.text in (ROOT / ".ci/run").read_text(encoding="utf-8")
                continue
            output = reader.run(block)
            if block.shown is not None:
                assert is_shown(block.shown, output), output
            elif "/workflows/runs" in block.text:
                answer, _ = json.JSONDecoder().raw_decode(output[output.index('{"task_id"') :])
                assert answer["status"] == "completed", answer
                assert all(answer["output"].values()), answer
            elif "model-compose run" in block.text:
                assert output.strip()
