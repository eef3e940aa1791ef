"""What is found out about the models of a file before anything is planned."""

from pathlib import Path

import pytest

from compose.loader import load_spec
from compose.models import find, find_all, observed
from infra.errors import ExitCode, UserError
from tests.hub import TOKEN, FakeHub, Fault

pytestmark = pytest.mark.server

FILE = "component:\n  type: model\n  task: chat-completion\n  model: acme/tiny\n"


@pytest.fixture
def private(tmp_path: Path) -> FakeHub:
    """A hub that shows its only model to who has the token."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    for name in ("tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return FakeHub({"acme/tiny": folder}, {"acme/tiny": Fault("private")})


def test_a_token_that_stands_in_the_environment_file_opens_a_private_model(private: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "model-compose.yml").write_text(FILE)
    with private:
        (tmp_path / ".env").write_text(f"HF_TOKEN={TOKEN}\nHF_ENDPOINT={private.url}\nHF_HOME={tmp_path}/hf\n")
        loaded = load_spec(directory=tmp_path, environ={})
        found = observed(find_all(loaded), tmp_path, tmp_path).models["chat-completion"]
    assert found.revision == private.commit("acme/tiny")
    assert found.prepare is not None
    assert TOKEN not in found.prepare
    assert found.prepare_environment["HF_TOKEN"] == TOKEN
    assert {request.token for request in private.requests} == {TOKEN}


def test_a_commit_that_is_known_is_asked_for_instead_of_the_branch(tmp_path: Path, private: FakeHub) -> None:
    (tmp_path / "model-compose.yml").write_text(FILE)
    with private:
        environ = {"HF_TOKEN": TOKEN, "HF_ENDPOINT": private.url, "HF_HOME": f"{tmp_path}/hf"}
        loaded = load_spec(directory=tmp_path, environ=environ)
        (component,) = loaded.spec.models
        commit = private.commit("acme/tiny")
        assert find(loaded, component, commit).revision == commit
        assert not [request.path for request in private.requests if "main" in request.path]
        with pytest.raises(UserError):
            find(loaded, component, "0" * 40)


def test_a_model_that_cannot_be_had_is_told_with_its_place_in_the_file(private: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "model-compose.yml").write_text(FILE)
    with private:
        loaded = load_spec(directory=tmp_path, environ={"HF_ENDPOINT": private.url, "HF_HOME": f"{tmp_path}/hf"})
        with pytest.raises(UserError) as caught:
            find_all(loaded)
    assert caught.value.message == (
        f"model-compose.yml:4:10: no such model: acme/tiny does not exist on {private.url}, or it is private"
    )
    assert caught.value.hint == "check the spelling; for a private model run `hf auth login` or set HF_TOKEN"
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
