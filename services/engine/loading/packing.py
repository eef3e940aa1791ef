"""Lays the weights of linear layers out as oneDNN computes with them, once at load instead of at every token.

Import it in the engine's thread only.
"""

from collections.abc import Iterable
from typing import Any

import torch

from services.engine.loading.machine import available_memory_bytes

_SHARE = 0.5
"""Of the free memory, how much packed weights may take: mapped ones took none that could not be had back."""


def pack(network: Any) -> None:
    """Every linear layer becomes a PackedLinear, in place, one after another.

    Nothing happens off the processor, in a type that oneDNN does not compute with here, or where memory is short. The
    weights of a head that are those of the input embeddings, too, are in memory twice afterwards.
    """
    if network.device.type != "cpu" or not _is_computed(network.dtype):
        return
    available, shared = available_memory_bytes(), _shared_weights(network)
    if available is not None and _bytes(network.parameters()) + _bytes(shared.values()) > available * _SHARE:
        return
    packed = False
    with torch.no_grad():
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if type(child) is torch.nn.Linear:
                    setattr(parent, name, PackedLinear(child))
                    packed = True
        if packed:  # what is left keeps the file mapped, whose pages would stay in memory beside their packed copies
            for weight in network.parameters():
                weight.data = weight.data.clone()


class PackedLinear(torch.nn.Module):
    """Does what a linear layer does: [..., in_features] -> [..., out_features]."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self._multiply = torch.ops.mkldnn._linear_pointwise.default  # not at import: some builds of torch lack it

    @property
    def weight(self) -> torch.Tensor:
        """Unpacked anew, for the few networks that compute with it themselves."""
        weight: torch.Tensor = self._packed.to_dense()
        return weight

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._multiply(values, self._packed, self.bias, "none", [], "")
        return result


def _is_computed(dtype: torch.dtype) -> bool:
    """By oneDNN on this processor."""
    backend: Any = torch.backends.mkldnn
    if not backend.is_available():
        return False
    if dtype == torch.bfloat16:
        supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return supported
    return dtype == torch.float32


def _shared_weights(network: Any) -> dict[int, torch.Tensor]:
    """Weights that two modules or more have, as input and output embeddings often do, by their identities."""
    seen: set[int] = set()
    shared: dict[int, torch.Tensor] = {}
    for module in network.modules():
        for weight in module.parameters(recurse=False):
            if id(weight) in seen:
                shared[id(weight)] = weight
            seen.add(id(weight))
    return shared


def _bytes(weights: Iterable[torch.Tensor]) -> int:
    return sum(weight.nbytes for weight in weights)
