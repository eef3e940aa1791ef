"""Whether a network says the same in a batch of rows of different lengths as alone: shown at load, not listed."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from transformers.cache_utils import get_layer_types_and_kwargs

from services.engine.continuous.network import Network, UnfitError
from services.engine.loading.quantizing import widened

_TEXTS = (
    (7, 3, 11, 5, 2, 13, 3, 17, 19, 5, 23, 7, 29, 31),
    (13, 2, 23, 5, 7, 3, 37, 11, 2),
)
"""Two rows of token ids, which any vocabulary has."""

_WINDOW = 6
"""Of layers with a sliding window, while they are proven: smaller than the texts, so that the window shows."""

_FAR = 1024
"""Tokens that a silent neighbour claims to have: whatever goes by the longest row instead of its own is seen here."""

_TOLERANCES = {32: 1e-4, 16: 0.05, 8: 0.1}
"""How far the logits behind a token may be apart, by bits: the root of the mean square in their standard deviations.

Rounding is other in another batch: a head of 8 bits is given numbers that are rounded by the largest of the batch.
Logits that have nothing in common are 1.4 apart, and of tiny networks with a wrong mask 0.4.
"""


def prove(network: Network, *, context: int | None, coarse: bool = False) -> None:
    """Compare the logits behind every token of two staggered rows with those of one pass over each row alone.

    Only the first layers take part, at least one of each kind, with their own weights and in their own precision; where
    that is int8, in float32, since layers that round by the batch would hide a wrong mask.
    context: tokens that the network can hold. coarse: its head has 8 bits, whatever the type of the other numbers.
    Raises UnfitError with the reason; whatever the network raises is such a reason, too.
    """
    far = _FAR if context is None else min(_FAR, context - len(_TEXTS[0]))
    try:
        with _shortened(network.network), torch.inference_mode():
            alone = [_logits(network.network, text) for text in _TEXTS]
            together = _together(network, far)
            apart = max(_distance(one, other) for one, other in zip(alone, together, strict=True))
    except Exception as error:
        raise UnfitError(f"its forward does not take rows of different lengths ({type(error).__name__})") from error
    finally:
        network.cache.reset()
    if not apart <= _TOLERANCES[8 if coarse else 8 * network.network.dtype.itemsize]:
        raise UnfitError("its rows do not stay apart in a batch")


def _logits(network: Any, text: tuple[int, ...]) -> torch.Tensor:
    """[token, vocabulary]."""
    logits: torch.Tensor = network(input_ids=torch.tensor([text], device=network.device), use_cache=False).logits
    return logits[0]


def _distance(one: torch.Tensor, other: dict[int, torch.Tensor]) -> float:
    """NaN where a number is not finite."""
    return max(
        float((one[place] - logits).square().mean().sqrt() / one[place].std()) for place, logits in other.items()
    )


def _together(network: Network, far: int) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
    """The logits behind some tokens of each row, by the token's place.

    The rows live in slots 1 and 2, and slot 0 holds the neighbour. They are read in pieces, alone and together, and
    then grow token by token, the second one later than the first.
    """
    first, second = _TEXTS
    network.cache.reserve(3, far + len(first))
    network.read([first[:6]], [1], [0])
    logits = network.read([first[6:10], second[:2]], [1, 2], [6, 0])
    seen: tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]] = {9: logits[0]}, {1: logits[1]}
    seen[0][10] = network.advance([1, first[10]], [far, 10])[1]
    seen[1][5] = network.read([second[2:6]], [2], [2])[0]
    for place in (11, 12, 13):
        logits = network.advance([1, first[place], second[place - 5]], [far + place - 10, place, place - 5])
        seen[0][place], seen[1][place - 5] = logits[1], logits[2]
    return seen


@contextlib.contextmanager
def _shortened(network: Any) -> Iterator[None]:
    """The network with its first layers only, in float32 where they are packed to int8, and a small window."""
    config = network.config.get_text_config(decoder=True)
    types, _ = get_layer_types_and_kwargs(config)
    few = max(2, 1 + max(types.index(kind) for kind in set(types)))
    changes: dict[str, Any] = {"num_hidden_layers": few}
    if getattr(config, "sliding_window", None) is not None:
        changes["sliding_window"] = _WINDOW
    parents = [
        (parent, name, layers)
        for parent in network.modules()
        for name, layers in parent.named_children()
        if isinstance(layers, torch.nn.ModuleList) and len(layers) == len(types)
    ]
    kept = {name: getattr(config, name) for name in changes}
    try:
        with contextlib.ExitStack() as stack:
            for parent, name, layers in parents:
                setattr(parent, name, layers[:few])
                stack.enter_context(widened(layers[:few]))
            for name, value in changes.items():
                setattr(config, name, value)
            yield
    finally:
        for name, value in kept.items():
            setattr(config, name, value)
        for parent, name, layers in parents:
            setattr(parent, name, layers)
