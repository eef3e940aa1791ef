"""What a network of transformers is given, and which attention that leads to."""

from typing import Any

import pytest

from tests.services.conftest import Tiny
from tests.services.engine.continuous.networks import load_decoder

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["llama", "qwen3", "mistral"])
@pytest.mark.parametrize("lengths", [(5, 5), (6, 3, 4)], ids=["alike", "ragged"])
def test_one_token_a_row_is_attended_to_without_copies(
    tiny: Tiny, name: str, lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AttentionInterface

    from services.engine.continuous.network import Network
    from services.engine.loading import attention
    from services.engine.loading.one_token import attend_one

    monkeypatch.setattr(AttentionInterface, "_global_mapping", {**AttentionInterface()})
    attention.register_attention()
    calls = []

    def count(*given: Any) -> torch.Tensor:
        calls.append(given)
        return attend_one(*given)

    monkeypatch.setattr(attention, "attend_one", count)
    network = Network(load_decoder(tiny, name).network)
    rows = range(len(lengths))
    with torch.inference_mode():
        network.cache.reserve(len(lengths), 8)
        network.read([[7] * length for length in lengths], rows, [0] * len(lengths))
        assert not calls
        network.advance([9 for _ in rows], lengths)
    assert len(calls) == network.network.config.num_hidden_layers
