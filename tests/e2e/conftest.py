"""What the tests of the whole product share: a copy of the repository, a fake hub with the documented models."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.project import Project
from tests.e2e.workshop import make_materials
from tests.hub import FakeHub
from tests.net import free_port

if TYPE_CHECKING:
    from tests.encoders import Encoder
    from tests.models import Architecture
    from tests.rewriters import Rewriter

ROOT = Path(__file__).parent.parent.parent
MODELS: "dict[str, Architecture]" = {
    "HuggingFaceTB/SmolLM3-3B": "smollm3",
    "HuggingFaceH4/zephyr-7b-beta": "mistral",
    "microsoft/DialoGPT-large": "gpt2",
    "EleutherAI/gpt-neo-2.7B": "gpt_neo",
    "Salesforce/codegen-350M-mono": "codegen",
    "facebook/blenderbot-400M-distill": "blenderbot",
}
"""The documents' models under their real names: tiny and random, in the layout of their repositories."""

REWRITERS: "dict[str, Rewriter]" = {
    "google/flan-t5-small": "t5",
    "google/flan-t5-base": "t5",
    "facebook/bart-large-cnn": "bart",
    "Helsinki-NLP/opus-mt-en-de": "marian",
}
ENCODERS: "dict[str, tuple[Encoder, int]]" = {
    "sentence-transformers/all-MiniLM-L6-v2": ("bert", 0),
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": ("distilbert", 2),
    "cross-encoder/ms-marco-MiniLM-L6-v2": ("bert", 1),
}
"""The same for the tasks that do not go on with a text; encoders with the classes that they tell apart."""

BIN_ONLY: "set[Architecture]" = {"gpt2", "codegen", "blenderbot"}


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[FakeHub]:
    """Has all of them, made once for all processes of this session."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "hub"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = folder.with_suffix(".begun")
            shutil.rmtree(making, ignore_errors=True)
            make_models(making)
            making.rename(folder)
    with FakeHub({name: folder / name for name in [*MODELS, *REWRITERS, *ENCODERS]}) as hub:
        yield hub


def make_models(folder: Path) -> None:
    """Each where its name says. What makes them is imported here: that takes seconds, and most processes make none."""
    from tests.encoders import make_encoder, make_sentence_layout
    from tests.models import make_model
    from tests.rewriters import make_rewriter

    for name, architecture in MODELS.items():
        make_model(architecture, folder / name, safetensors=architecture not in BIN_ONLY)
    for name, rewriter in REWRITERS.items():
        make_rewriter(rewriter, folder / name)
    for name, (encoder, labels) in ENCODERS.items():
        make_encoder(encoder, folder / name, labels=labels)
    pickle(folder / "Helsinki-NLP/opus-mt-en-de")
    make_sentence_layout(folder / "sentence-transformers/all-MiniLM-L6-v2")


def pickle(folder: Path) -> None:
    """Leaves the model with `pytorch_model.bin` alone, as old repositories have it."""
    import torch
    from safetensors.torch import load_file

    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files with their times, so that the documents' commands leave the repository alone."""
    copy = tmp_path_factory.mktemp("checkout")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    packed = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"], cwd=ROOT, input=files, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "--extract"], cwd=copy, input=packed, check=True)
    (copy / ".venv").symlink_to(Path(sys.prefix))
    return copy


@pytest.fixture(scope="session")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What images are built of in seconds."""
    return make_materials(tmp_path_factory.mktemp("materials"))


@pytest.fixture
def environment(hub: FakeHub, tmp_path: Path) -> dict[str, str]:
    """A user's environment with an empty Hugging Face cache, whose hub is ours."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "huggingface"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "NO_COLOR": "1",
    }


@pytest.fixture
def default_ports() -> Iterator[None]:
    """The documents name the ports 8080 and 8081, so their tests take turns on this machine."""
    with (Path(tempfile.gettempdir()) / "model-compose-default-ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def project(environment: dict[str, str], tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder, environment, free_port(), free_port())
