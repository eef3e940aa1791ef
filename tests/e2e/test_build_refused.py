"""What a build lacks is named in a sentence with the next thing to do, and no image and nothing temporary is left."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.workshop import Workshop
from tests.hub import FakeHub, Fault
from tests.skipping import skip

pytestmark = pytest.mark.server

FULL_DISK = Path(__file__).with_name("full_disk.py")
OTHERS = "or name another base: --base docker-daemon:NAME, oci:DIR, archive:FILE, tar:FILE or REGISTRY/NAME"
PICKLE = b"\x80\x04cos\nsystem\n(S'touch owned'\ntR."


@pytest.fixture
def shop(materials: Path, tmp_path: Path) -> Workshop:
    return Workshop.make(tmp_path, shutil.copytree(materials, tmp_path / "materials"))


def refusal(shop: Workshop, *arguments: str) -> tuple[int, list[str]]:
    """The exit status and the last two lines; nothing but layers that are whole may be left."""
    ended = shop.build("chat", *arguments, check=False)
    assert (ended.stdout, shop.names(), shop.damaged(), shop.leftovers()) == ("", [], [], [])
    return ended.returncode, ended.stderr.splitlines()[-2:]


def test_a_package_that_is_only_source_is_named(shop: Workshop) -> None:
    (wheel,) = (shop.materials / "wheels").glob("transformers-*.whl")
    name, version = wheel.name.split("-")[:2]
    wheel.rename(wheel.with_name(f"{name}-{version}.tar.gz"))
    code, said = refusal(shop)
    assert (code, said[0].partition(" has no wheel for ")[0]) == (4, f"error: transformers {version}")
    assert said[1] == (
        "hint: choose another Python with --base, or build its wheel and name the folder of wheels with --wheels"
    )


def test_an_index_that_nobody_reaches_is_said(shop: Workshop) -> None:
    assert refusal(shop, "--index-url", "http://user:sentinel@127.0.0.1:9/simple") == (
        4,
        [
            "error: the package index cannot be reached",
            "hint: name another index with --index-url, or a folder of wheels with --wheels",
        ],
    )


def test_a_base_that_nobody_reaches_names_the_option(shop: Workshop) -> None:
    assert refusal(shop, "--base", "127.0.0.1:9/python:3.11") == (
        4,
        [
            "error: 127.0.0.1:9 cannot be reached: it refuses the connection",
            f"hint: check the port, and that the registry runs, {OTHERS}",
        ],
    )


@pytest.mark.parametrize("pickled", [False, True], ids=["wrong content", "code in a pickle"])
def test_weights_that_cannot_be_trusted_are_named(shop: Workshop, tmp_path: Path, pickled: bool) -> None:
    model = shop.materials / "model"
    if pickled:
        (model / "model.safetensors").unlink()
        (model / "pytorch_model.bin").write_bytes(PICKLE)
    file = "component: {id: chat, type: model, task: chat-completion, model: acme/tiny}\n"
    (shop.folder / "model-compose.yml").write_text(file, encoding="utf-8")
    faults = {} if pickled else {"acme/tiny": Fault("wrong-hash", path="*.safetensors")}
    with FakeHub({"acme/tiny": model}, faults=faults) as hub:
        told = {**shop.environment, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        code, said = refusal(Workshop(shop.folder, shop.materials, told))
    expected = (
        (3, "error: acme/tiny is refused: its pickled weights are not plain tensors")
        if pickled
        else (4, "error: model.safetensors of acme/tiny came with wrong content twice")
    )
    assert (code, said[0][: len(expected[1])]) == expected
    assert not list(tmp_path.rglob("owned"))


def on(disk: "SmallDisk", shop: Workshop) -> Workshop:
    """The same with its cache there."""
    return replace(shop, environment={**shop.environment, "MODEL_COMPOSE_CACHE": str(disk.place)})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator["SmallDisk"]:
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.remove()


class SmallDisk:
    """A disk in memory that is as small as a test wants it."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def make(self, options: str) -> None:
        self.place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.place)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            skip(f"no disk in memory: {made.stderr.strip()}")

    def remove(self) -> None:
        subprocess.run(["umount", str(self.place)], capture_output=True, check=False)


IN_MEMORY = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")


@IN_MEMORY
def test_a_disk_that_is_too_small_is_said_before_it_is_full(shop: Workshop, small_disk: SmallDisk) -> None:
    small_disk.make("size=66m")
    code, said = refusal(on(small_disk, shop))
    assert (code, said[0].startswith(f"error: not enough space in {small_disk.place}/")) == (4, True)
    assert said[1].startswith("hint: free some")
    assert not shop.lock.exists()


@IN_MEMORY
@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("builders.gathering.find_base", "error: not enough space in {place}"),
        ("builders.packages.uv.run_child", "error: the disk is full: the packages cannot be installed"),
        ("builders.packages.layer.PackagesLayer.make", "error: not enough space in {place}"),
        ("builders.contents.make_bento", "error: not enough space in {place}"),
    ],
    ids=["at the base", "inside uv", "at the packages", "at the Bento"],
)
def test_a_disk_that_gets_full_is_said(shop: Workshop, small_disk: SmallDisk, step: str, message: str) -> None:
    small_disk.make("size=2g,nr_inodes=2000")
    shop = on(small_disk, shop)
    command = shop.command("--no-verify", "chat")[1:]
    ended = shop.run([sys.executable, str(FULL_DISK), step, str(small_disk.place / "others"), *command])
    said = ended.stderr.splitlines()[-2:]
    assert (ended.returncode, said[0]) == (4, message.format(place=small_disk.place))
    assert said[1].startswith("hint: free some")
    assert (ended.stdout, shop.names(), shop.damaged(), shop.leftovers()) == ("", [], [], [])
    assert not shop.lock.exists()
