"""What a folder becomes in memory: precision, device, room, ends."""

from typing import TYPE_CHECKING, Any

import pytest

from services.engine.checkpoint import Checkpoint, read_checkpoint
from services.engine.failure import NO_MEMORY, LoadError
from services.engine.sampling import Room
from tests.services.conftest import Tiny
from tests.services.tasks.serving import settings_of

if TYPE_CHECKING:
    from services.engine.loading import LoadedModel
    from tests.models import Architecture

pytestmark = pytest.mark.unit


def load(tiny: Tiny, architecture: "Architecture", **changes: Any) -> "LoadedModel":
    from services.engine.loading import load_model

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


def test_precision_is_the_checkpoints_own_unless_told(tiny: Tiny) -> None:
    assert str(load(tiny, "llama", precision="auto").network.dtype) == "torch.float32"
    assert str(load(tiny, "llama", precision="bfloat16").network.dtype) == "torch.bfloat16"


def test_int8_is_opt_in(tiny: Tiny) -> None:
    model = load(tiny, "llama", quantization="int8")
    assert model.placement == "cpu, int8, 1 threads"
    assert str(model.network.model.layers[0].mlp.up_proj).startswith("DynamicQuantizedLinear")


def test_a_model_larger_than_the_free_memory_is_refused_before_it_is_read(tiny: Tiny) -> None:
    from services.engine.loading import load_model

    settings = settings_of(tiny("llama"))
    huge = Checkpoint({"architectures": ["LlamaForCausalLM"]}, "llama", 10**15, "bfloat16")
    with pytest.raises(LoadError, match=r"tiny/llama needs 4000000\.0 GB for its weights in float32, and ") as caught:
        load_model(settings, huge)
    assert caught.value.exit_code == NO_MEMORY
