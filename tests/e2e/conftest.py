"""What the tests of the whole product share: a copy of the repository, a fake hub with the documented models."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.project import Project
from tests.e2e.workshop import make_materials
from tests.encoders import make_encoder, make_sentence_layout
from tests.hub import FakeHub
from tests.models import Architecture, make_model
from tests.net import free_port
from tests.rewriters import make_rewriter

ROOT = Path(__file__).parent.parent.parent
MODELS: dict[str, Architecture] = {
    "HuggingFaceTB/SmolLM3-3B": "smollm3",
    "HuggingFaceH4/zephyr-7b-beta": "mistral",
    "microsoft/DialoGPT-large": "gpt2",
    "EleutherAI/gpt-neo-2.7B": "gpt_neo",
    "Salesforce/codegen-350M-mono": "codegen",
    "facebook/blenderbot-400M-distill": "blenderbot",
}
"""The documents' models under their real names: tiny and random, in the layout of their repositories."""

OTHERS: dict[str, Callable[[Path], Path]] = {
    "google/flan-t5-small": lambda folder: make_rewriter("t5", folder),
    "google/flan-t5-base": lambda folder: make_rewriter("t5", folder),
    "facebook/bart-large-cnn": lambda folder: make_rewriter("bart", folder),
    "Helsinki-NLP/opus-mt-en-de": lambda folder: pickled(make_rewriter("marian", folder)),
    "sentence-transformers/all-MiniLM-L6-v2": lambda folder: make_sentence_layout(make_encoder("bert", folder)),
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": lambda folder: make_encoder(
        "distilbert", folder, labels=2
    ),
    "cross-encoder/ms-marco-MiniLM-L6-v2": lambda folder: make_encoder("bert", folder, labels=1),
}
"""The same for the tasks that do not go on with a text."""

BIN_ONLY: set[Architecture] = {"gpt2", "codegen", "blenderbot"}


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    folder = tmp_path_factory.mktemp("hub")
    folders = {
        name: make_model(architecture, folder / architecture, safetensors=architecture not in BIN_ONLY)
        for name, architecture in MODELS.items()
    }
    folders |= {name: make(folder / Path(name).name) for name, make in OTHERS.items()}
    with FakeHub(folders) as hub:
        yield hub


def pickled(folder: Path) -> Path:
    """The model with `pytorch_model.bin` alone, as old repositories have it."""
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    return folder


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
