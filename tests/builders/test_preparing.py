"""A model that is not on this disk is fetched or converted by a child, whose words come through."""

from pathlib import Path

import pytest

from builders.preparing import prepare
from builders.weights import ModelSource, resolve
from infra.errors import ExitCode, UserError
from tests.models import make_model

pytestmark = pytest.mark.server


def pickled(tmp_path: Path) -> Path:
    return make_model("gpt2", tmp_path / "pickled", safetensors=False)


def test_pickled_weights_are_converted_before_they_are_baked(tmp_path: Path, environ: dict[str, str]) -> None:
    found = resolve(ModelSource(path=pickled(tmp_path)), task="text-generation", environ=environ)
    told: list[tuple[str, float | None]] = []
    prepare(found, "tiny", lambda stage, progress: told.append((stage, progress)), tmp_path)
    assert (found.path / "model.safetensors").is_file()
    assert told[-1] == ("loading", 1.0)


def test_a_refusal_is_the_childs(tmp_path: Path, environ: dict[str, str]) -> None:
    folder = pickled(tmp_path)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.")
    found = resolve(ModelSource(path=folder), task="text-generation", environ=environ)
    with pytest.raises(UserError) as caught:
        prepare(found, "tiny", lambda *_: None, tmp_path)
    assert caught.value.exit_code is ExitCode.FILE
    assert caught.value.message.startswith(f"{folder} is refused: its pickled weights")
    assert not Path("owned").exists()


def test_what_is_there_needs_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    found = resolve(ModelSource(path=make_model("gpt2", tmp_path / "m")), task="text-generation", environ=environ)
    prepare(found, "tiny", lambda *_: pytest.fail("nothing to do"), tmp_path)
