import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.kubernetes.tools import kustomize
from tests.kube.cluster import Cluster
from tests.kube.podman import podman_in
from tests.kube.project import TAG, TOKEN, Exported, make_exported


@pytest.fixture(scope="module")
def exported(base_tar: Path, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A project that is built and exported; its layers are the ones that tests of images have, so few are made."""
    folder = tmp_path_factory.mktemp("kube") / "pair"
    folder.mkdir()
    return make_exported(folder, base_tar, pytestconfig.cache.mkdir("images"))


@pytest.fixture(scope="module")
def cluster(exported: Exported) -> Iterator[Cluster]:
    """`overlays/local` of the export, running. Podman keeps the images for the next session, but nothing else."""
    folder = Path(tempfile.gettempdir()) / "podman"
    podman = podman_in(folder)
    folder.mkdir(exist_ok=True)
    with (folder / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Cluster(podman, exported.name, kustomize(exported.tree / "overlays" / "local"), {"API_TOKEN": TOKEN})
        made.load(exported.layout, TAG)
        with made.running():
            yield made
