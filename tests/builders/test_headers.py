"""What is known of a model before its weights are here: from a few kilobytes, and from no more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builders.estimate import Facts, Tensor
from builders.headers import facts_of
from builders.weights import ModelSource, resolve
from infra.errors import ExitCode, UserError
from tests.hub import FakeHub, Fault
from tests.models import Architecture, make_model

pytestmark = pytest.mark.server

NAME = "acme/tiny"
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A tiny model on this disk."""

    def make(architecture: Architecture, **options: Any) -> Path:
        return make_model(architecture, tmp_path_factory.mktemp("model"), **options)

    return make


def facts(source: ModelSource, environ: dict[str, str]) -> Facts:
    return facts_of(source, resolve(source, task="text-generation", environ=environ), environ)


def test_a_folder_and_a_hub_tell_the_same_of_one_model(made: Make, environ: dict[str, str]) -> None:
    folder = made("llama")
    here = facts(ModelSource(path=folder), environ)
    with FakeHub({NAME: folder}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        assert facts(ModelSource(repository=NAME), environ) == here
    embedding = next(tensor for tensor in here.tensors if "embed_tokens" in tensor.name)
    assert embedding == Tensor("model.embed_tokens.weight", "F32", (480, 32))
    assert (here.parameters, here.stored, here.context, here.rough) == (33_952, "float32", 256, False)


def test_of_weights_on_the_hub_only_the_beginning_is_asked_for(made: Make, environ: dict[str, str]) -> None:
    with FakeHub({NAME: made("llama")}, cdn=True) as hub:
        environ["HF_ENDPOINT"] = hub.url
        facts(ModelSource(repository=NAME), environ)
        asked = [request for request in hub.requests if request.path.endswith(".safetensors")]
        assert {request.range for request in asked} == {"bytes=0-100000"}
        assert hub.files_sent() == ["config.json", "model.safetensors"]


def test_pickled_weights_are_judged_by_their_size_alone(made: Make, environ: dict[str, str]) -> None:
    folder = made("gpt2", safetensors=False)
    size = (folder / "pytorch_model.bin").stat().st_size
    with FakeHub({NAME: folder}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        found = facts(ModelSource(repository=NAME), environ)
        assert hub.files_sent() == ["config.json"]
    assert (found.rough, found.parameters) == (True, size // 4)
    assert facts(ModelSource(path=folder), environ).tensors == found.tensors


def test_weights_without_a_header_are_called_damaged(made: Make, environ: dict[str, str], tmp_path: Path) -> None:
    folder = made("llama")
    (folder / "model.safetensors").write_bytes(b"no header at all")
    with FakeHub({NAME: folder}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        with pytest.raises(UserError) as caught:
            facts(ModelSource(repository=NAME), environ)
    assert caught.value.exit_code == ExitCode.FILE
    assert caught.value.message == (
        "the weights of acme/tiny are damaged: a file of safetensors has no readable header"
    )


def test_a_hub_that_fails_is_told_as_such(made: Make, environ: dict[str, str]) -> None:
    fault = Fault("status", status=500, path="*.safetensors")
    with FakeHub({NAME: made("llama")}, {NAME: fault}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        with pytest.raises(UserError) as caught:
            facts(ModelSource(repository=NAME), environ)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
