"""How one prompt becomes text does not depend on how its computation is cut into steps."""

from typing import TYPE_CHECKING

import pytest

from services.engine.base import Prompt
from services.engine.sampling import Sampling
from tests.services.conftest import Tiny
from tests.services.engine.test_loading import load

if TYPE_CHECKING:
    from tests.models import Architecture

pytestmark = pytest.mark.unit

PROMPT = Prompt(tuple(range(5, 105)), max_new=12, min_new=12)


@pytest.mark.parametrize("architecture", ["smollm3", "mistral", "gpt_neo"])
@pytest.mark.parametrize("beams", [1, 2])
def test_a_prompt_read_in_pieces_gives_the_same_text(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, architecture: "Architecture", beams: int
) -> None:
    from services.engine import decoding

    layers = 0

    def count() -> bool:
        nonlocal layers
        layers += 1
        return False

    decoder = decoding.Decoder(load(tiny, architecture), count)
    sampling = Sampling(do_sample=False, num_beams=beams)
    whole = decoder.run(PROMPT, sampling, 1, lambda _: None)
    in_one, layers = layers, 0
    monkeypatch.setattr(decoding, "PREFILL_CHUNK", 30)
    assert decoder.run(PROMPT, sampling, 1, lambda _: None) == whole
    assert layers > in_one
