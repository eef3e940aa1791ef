"""What a folder becomes in memory: precision, device, room, ends."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from services.engine.failure import MODEL_UNFIT, NO_MEMORY, LoadError
from services.engine.loading.checkpoint import Checkpoint, read_checkpoint
from services.engine.sampling.parameters import Room
from tests.services.conftest import Tiny
from tests.services.tasks.serving import settings_of

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel
    from tests.models import Architecture

pytestmark = pytest.mark.unit


def load(tiny: Tiny, architecture: "Architecture", **changes: Any) -> "LoadedModel":
    from services.engine.loading.generators import load_model

    settings = settings_of(tiny(architecture), **changes)
    return load_model(settings, read_checkpoint(settings.model_path, settings.model))


def test_a_decoder_of_pairs_files_only(tiny: Tiny) -> None:
    model = load(tiny, "gpt2")
    assert (model.room, model.eos_token_ids, model.placement) == (Room(256), (0,), "cpu, float32, 1 threads")
    assert model.tokenizer.decode(model.tokenizer.encode("안녕 you")) == "안녕 you"


def test_an_encoder_decoder_has_two_limits_and_its_own_defaults(tiny: Tiny) -> None:
    model = load(tiny, "blenderbot")
    assert model.room == Room(128, 128, encoder_decoder=True)
    assert {"num_beams": 4, "min_length": 5, "max_length": 24}.items() <= model.generation_defaults.items()


@pytest.mark.parametrize(
    ("kind", "room"),
    [
        ("LlamaConfig", Room(2048)),
        ("MambaConfig", Room(None)),
        ("MarianConfig", Room(1024, 1024, encoder_decoder=True)),
        ("LEDConfig", Room(1024, 16384, encoder_decoder=True)),
        ("T5GemmaConfig", Room(8192, 8192, encoder_decoder=True)),
        ("T5Config", Room(4096, 4096, encoder_decoder=True)),
    ],
)
def test_what_counts_distances_has_an_end_all_the_same(kind: str, room: Room) -> None:
    import transformers

    from services.engine.loading.generators import room_of

    assert room_of(getattr(transformers, kind)()) == room


def test_precision_is_the_checkpoints_own_unless_told(tiny: Tiny) -> None:
    assert str(load(tiny, "llama", precision="auto").network.dtype) == "torch.float32"
    assert str(load(tiny, "llama", precision="bfloat16").network.dtype) == "torch.bfloat16"


def test_int8_is_opt_in(tiny: Tiny) -> None:
    model = load(tiny, "llama", quantization="int8")
    assert model.placement == "cpu, int8, 1 threads"
    assert str(model.network.model.layers[0].mlp.up_proj).startswith("DynamicQuantizedLinear")


def test_code_of_a_known_type_is_ignored(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("llama"), tmp_path / "llama")
    canary = tmp_path / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w')")
    for name, classes in {
        "config.json": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
        "tokenizer_config.json": {"AutoTokenizer": ["evil.Tokenizer", None]},
    }.items():
        written = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps({**written, "auto_map": classes}), encoding="utf-8")
    assert type(load(lambda _architecture: folder, "llama").network).__name__ == "LlamaForCausalLM"
    assert not canary.exists()


def test_a_model_that_generates_no_text_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("gpt2"), tmp_path / "bert")
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(LoadError) as caught:
        load(lambda _architecture: folder, "gpt2")
    message = "tiny/bert is a BertForMaskedLM, which does not generate text, so it does not fit text-generation"
    assert (caught.value.message, caught.value.exit_code) == (message, MODEL_UNFIT)


def test_a_model_that_lacks_weights_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny("gpt2"), tmp_path / "gpt2")
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.ln_f.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LoadError, match="tiny/gpt2 lacks 1 of its weights"):
        load(lambda _architecture: folder, "gpt2")


def test_a_model_larger_than_the_free_memory_is_refused_before_it_is_read(tiny: Tiny) -> None:
    from services.engine.loading.generators import load_model

    settings = settings_of(tiny("llama"))
    huge = Checkpoint({"architectures": ["LlamaForCausalLM"]}, "llama", 10**15, "bfloat16")
    with pytest.raises(LoadError, match=r"tiny/llama needs 4000000\.0 GB for its weights in float32, and ") as caught:
        load_model(settings, huge)
    assert caught.value.exit_code == NO_MEMORY
