"""What is taken out of our images and outputs is what other tools know: a Bento, a layout, an archive."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.container import BENTO
from tests.docker.product import TIMEOUT_S, Product, build
from tests.stock_bentoml import served

pytestmark = [pytest.mark.docker, pytest.mark.timeout(TIMEOUT_S)]

TAG = "taken-out"


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S).stdout


def inspected(reference: str) -> Any:
    """An image as the engine knows it."""
    return json.loads(run("docker", "image", "inspect", reference))[0]


def test_stock_bentoml_serves_the_bento_of_an_image(product: Product, tmp_path: Path) -> None:
    container = run("docker", "create", product.reference("task-chat")).strip()
    try:
        run("docker", "cp", f"{container}:{BENTO}", tmp_path / "bento")
        run("docker", "cp", f"{container}:/models", tmp_path / "models")
    finally:
        run("docker", "rm", container)
    settings = tmp_path / "bento" / "src" / "task.json"
    there = json.loads(settings.read_text(encoding="utf-8"))["model_path"]
    settings.write_text(settings.read_text(encoding="utf-8").replace(there, f"{tmp_path}{there}"), encoding="utf-8")
    with (tmp_path / "bento" / "src" / "services" / "__init__.py").open("a", encoding="utf-8") as code:
        code.write('print("this is the code of the Bento")\n')
    fields = {"messages": [{"role": "user", "content": "Hello"}], "max_output_length": 4}
    with served(tmp_path / "bento", tmp_path) as bento:
        asked = {"request_id": "r", "fields": fields, "seed": 1, "stream": False}
        status, answer = bento.ask("POST", "/predict", asked)
    assert (status, answer["usage"]["completion_tokens"]) == (200, 4)
    assert "this is the code of the Bento" in bento.log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def layout(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout of a task and the router."""
    folder = tmp_path_factory.mktemp("outputs") / "layout"
    build(product.folder, product.environment, "chat", "router", "--output", f"oci:{folder}")
    return folder


@pytest.fixture(scope="module")
def archive(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the router, under another tag."""
    file = tmp_path_factory.mktemp("outputs") / "router.tar"
    build(product.folder, product.environment, "router", "--tag", TAG, "--output", f"archive:{file}")
    return file


@pytest.fixture
def loaded() -> Iterator[list[str]]:
    """Names that the test brings into the engine; they are taken away."""
    names: list[str] = []
    yield names
    for name in names:
        run("docker", "image", "rm", name)


@pytest.mark.parametrize("service", ["task-chat", "router"])
def test_skopeo_reads_a_layout(product: Product, layout: Path, service: str) -> None:
    reference = product.reference(service)
    read = json.loads(run("skopeo", "inspect", f"oci:{layout}:{reference}"))
    known = inspected(reference)
    assert read["Labels"] == known["Config"]["Labels"]
    assert read["Env"] == known["Config"]["Env"]
    assert len(read["Layers"]) == len(known["RootFS"]["Layers"])
    assert (read["Created"], read["DockerVersion"]) == (None, "")


def test_an_engine_loads_what_skopeo_makes_of_a_layout(
    product: Product, layout: Path, loaded: list[str], tmp_path: Path
) -> None:
    reference = product.reference("router")
    copied = reference.replace("latest", "copied")
    run("skopeo", "copy", f"oci:{layout}:{reference}", f"docker-archive:{tmp_path / 'copied.tar'}:{copied}")
    loaded.append(copied)
    assert run("docker", "load", "--quiet", "--input", tmp_path / "copied.tar") == f"Loaded image: {copied}\n"
    assert inspected(copied)["RootFS"] == inspected(reference)["RootFS"]


def test_an_archive_is_for_docker_load_and_for_skopeo(
    product: Product, archive: Path, loaded: list[str], tmp_path: Path
) -> None:
    reference = product.reference("router")
    tagged = reference.replace("latest", TAG)
    loaded.append(tagged)
    with archive.open("rb") as stream:
        said = subprocess.run(["docker", "load"], stdin=stream, check=True, capture_output=True, text=True).stdout
    assert said == f"Loaded image: {tagged}\n"
    known = inspected(tagged)
    assert known["Id"] == inspected(reference)["Id"]
    read = json.loads(run("skopeo", "inspect", f"docker-archive:{archive}"))
    assert (read["Env"], read["Layers"]) == (known["Config"]["Env"], known["RootFS"]["Layers"])
    run("skopeo", "copy", f"oci-archive:{archive}", f"oci:{tmp_path / 'layout'}:{tagged}")
