"""The images of a whole project in a real engine, as `model-compose build` makes them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.docker.product import SERVICES, TIMEOUT_S, Product, build

pytestmark = [pytest.mark.docker, pytest.mark.timeout(TIMEOUT_S)]

CHECKOUT = Path(__file__).parents[2]

PROGRAM = """
import json, os, stat, sys

forbidden = [text.encode() for text in json.loads(sys.argv[1])]
longest = max(map(len, forbidden))
modes, owners, told = set(), set(), []
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/dev", "/proc", "/sys", "/tmp")]
    for name in (*folders, *files):
        path = os.path.join(folder, name)
        found = os.lstat(path)
        owners.add((found.st_uid, found.st_gid))
        if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
            modes.add(path)
        if stat.S_ISREG(found.st_mode):
            if found.st_mode & 0o022 or not os.access(path, os.R_OK):
                modes.add(path)
            rest = b""
            with open(path, "rb") as file:
                while piece := file.read(4_000_000):
                    told += [(path, text.decode()) for text in forbidden if text in rest + piece]
                    rest = piece[-longest:]
print(json.dumps({"modes": sorted(modes), "owners": sorted(owners), "told": told}))
"""


def _docker(*arguments: str) -> str:
    ended = subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    return ended.stdout


def _forbidden(product: Product) -> list[str]:
    """Places of this machine, and the one secret of this file."""
    return [product.environment["API_TOKEN"], str(product.folder), f"{CHECKOUT}/"]


def test_every_image_is_tried_and_works(product: Product) -> None:
    works = [line.split()[0] for line in product.said.splitlines() if "works: ready after" in line]
    assert sorted(works) == sorted(SERVICES)


def test_a_second_build_makes_nothing_and_tries_nothing(product: Product) -> None:
    said = build(product.folder, product.environment)
    assert product.digests(said) == product.digests(product.said)
    assert len(product.digests(said)) == len(SERVICES)
    assert " new " not in said
    assert "works:" not in said


def test_another_prompt_changes_no_task_image(product: Product, tmp_path: Path) -> None:
    edited = Path(shutil.copytree(product.folder, tmp_path / product.folder.name))
    file = edited / "model-compose.yml"
    asking = 'component: chat, input: {user_prompt: "Say hello."}}'
    file.write_text(file.read_text().replace("component: chat}", asking))
    said = build(edited, product.environment, "--tag", "edited")
    old, new = product.digests(product.said), product.digests(said)
    assert {name for name in old if old[name] != new[name]} == {f"{product.folder.name}/router"}


def test_two_tasks_of_one_model_share_its_layers(product: Product) -> None:
    chat, writer = (
        json.loads(_docker("image", "inspect", product.reference(name)))[0]["RootFS"]["Layers"]
        for name in ("task-chat", "task-writer")
    )
    assert chat[:-2] == writer[:-2]


@pytest.mark.parametrize("service", SERVICES)
def test_its_history_says_what_each_layer_is_for_and_nothing_else(product: Product, service: str) -> None:
    lines = _docker("history", "--no-trunc", "--format", "{{json .}}", product.reference(service)).splitlines()
    layers: list[dict[str, Any]] = [json.loads(line) for line in reversed(lines)]
    middle = ["the small files of the model", "our code"] if service.startswith("task") else ["our code"]
    last = "the task's settings and its Bento" if service.startswith("task") else "its settings"
    expected = ["base", "Python packages", *middle, "the bill of materials", last]
    assert [layer["CreatedBy"] for layer in layers] == expected
    assert {layer["Comment"] for layer in layers} == {""}
    assert {layer["CreatedAt"] for layer in layers} == {"0001-01-01T00:00:00Z"}


@pytest.mark.parametrize("service", ["task-chat", "router", "page"])
def test_its_files_are_roots_readable_for_all_and_tell_nothing_of_this_machine(product: Product, service: str) -> None:
    restricted = ["--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--entrypoint", "python3"]
    program = ["-P", "-S", "-c", PROGRAM, json.dumps(_forbidden(product))]
    found = json.loads(_docker("run", *restricted, product.reference(service), *program))
    assert found == {"modes": [], "owners": [[0, 0]], "told": []}


@pytest.mark.parametrize("service", SERVICES)
def test_its_config_says_how_it_starts_and_tells_nothing_of_this_machine(product: Product, service: str) -> None:
    text = _docker("image", "inspect", "--format", "{{json .Config}}", product.reference(service))
    assert [word for word in _forbidden(product) if word in text] == []
    config = json.loads(text)
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"][:3] == ["python3", "-P", "-m"]
    assert {"HOME=/tmp", "USER=model", "HF_HUB_OFFLINE=1"} <= set(config["Env"])


def test_skopeo_reads_an_image_as_the_engine_does(product: Product, engine: str) -> None:
    command = ["skopeo", "inspect", "--daemon-host", engine, f"docker-daemon:{product.reference('router')}"]
    read = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S).stdout)
    inspected = json.loads(_docker("image", "inspect", product.reference("router")))[0]
    assert (read["Architecture"], read["Os"]) == (inspected["Architecture"], inspected["Os"])
    assert (read["Labels"], read["Env"]) == (inspected["Config"]["Labels"], inspected["Config"]["Env"])
    assert read["Layers"] == inspected["RootFS"]["Layers"]
