"""What the tests of the whole product share: a copy of the repository, a fake hub with the documented models."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import FakeHub
from tests.models import make_model

ROOT = Path(__file__).parent.parent.parent
DOCUMENTED_MODEL = "HuggingFaceTB/SmolLM3-3B"


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    """The documented model under its real name: SmolLM3's architecture and chat template, tiny and random."""
    model = make_model("smollm3", tmp_path_factory.mktemp("hub") / "smollm3")
    with FakeHub({DOCUMENTED_MODEL: model}) as hub:
        yield hub


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
