"""Whether a network says the same in a batch as it says alone: shown with its own weights, not listed by name."""

from typing import Any, Literal

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

Together = Literal["padded", "same length", "alone"]
"""What may share a batch: any prompts, prompts of one length, nothing."""

TEXTS = ((7, 3, 11, 5, 2, 13, 3, 17, 19), (13, 3, 23, 5))
"""Token ids, which any vocabulary has."""

FORCED = 5
"""The token that every row takes, whatever it wants, so that the next one can be compared."""

_TOLERANCES = {torch.float32: 1e-3}
_COARSE = 0.1
"""For 16 or 8 bits, which round otherwise in another batch."""


def prove(network: Any, pad: Any, *, coarse: bool = False) -> Together:
    """Compare two steps of `generate()` for two prompts together with those for each alone.

    pad: prompts -> (token ids, mask), as batches are padded. coarse: weights have 8 bits.
    """
    tolerance = tolerance_of(network, coarse=coarse)
    long, short = TEXTS
    alone = [_logits(network, *pad([text])) for text in (long, short)]
    if alike(_logits(network, *pad([long, short])), torch.cat(alone), tolerance):
        return "padded"
    backwards = long[::-1]
    alone = [alone[0], _logits(network, *pad([backwards]))]
    return "same length" if alike(_logits(network, *pad([long, backwards])), torch.cat(alone), tolerance) else "alone"


def tolerance_of(network: Any, *, coarse: bool = False) -> float:
    """How far logits may be apart, in their standard deviations."""
    return _COARSE if coarse else _TOLERANCES.get(network.dtype, _COARSE)


def alike(together: torch.Tensor, alone: torch.Tensor, tolerance: float) -> bool:
    """Whether logits are no further apart than that; False where a number is not finite."""
    return bool((together - alone).abs().max() / alone.std() <= tolerance)


def _logits(network: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[row, step, vocabulary]."""
    with torch.inference_mode():
        output = network.generate(
            ids,
            attention_mask=mask,
            generation_config=GenerationConfig(
                max_new_tokens=2,
                min_new_tokens=2,
                do_sample=False,
                num_beams=1,
                num_return_sequences=1,
                return_dict_in_generate=True,
                output_logits=True,
            ),
            logits_processor=LogitsProcessorList([_Force()]),
        )
    return torch.stack(output.logits, 1).float()


class _Force(LogitsProcessor):  # type: ignore[misc]  # transformers has no types
    def __call__(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, FORCED] = 0
        return forced
