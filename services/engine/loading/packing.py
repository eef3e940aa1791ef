"""Lays the weights of linear layers out as oneDNN computes with them, once at load instead of at every token.

Import it in the engine's thread only.
"""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from services.engine.loading.machine import available_memory_bytes
from services.engine.loading.precision import PACKING_SHARE

_ONE_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""What most decoders call the layers of a block to which they give the same tensor."""


def pack(network: Any) -> None:
    """Every linear layer becomes a PackedLinear, in place, one after another.

    Nothing happens off the processor, in a type that oneDNN does not compute with here, or where memory is short. The
    weights of a head that are those of the input embeddings, too, are in memory twice afterwards.
    """
    if network.device.type != "cpu" or not _is_computed(network.dtype):
        return
    available, shared = available_memory_bytes(), _shared_weights(network)
    if available is not None and _bytes(network.parameters()) + _bytes(shared.values()) > available * PACKING_SHARE:
        return
    packed = False
    with torch.no_grad():
        for parent in list(network.modules()):
            for names in _products(parent):
                product = Product([getattr(parent, name) for name in names])
                for index, name in enumerate(names):
                    setattr(parent, name, PackedLinear(product, index))
                packed = True
        if packed:  # what is left keeps the file mapped, whose pages would stay in memory beside their packed copies
            for weight in network.parameters():
                weight.data = weight.data.clone()


class PackedLinear(torch.nn.Module):
    """Does what a linear layer does: [..., in_features] -> [..., out_features]. One part of a product's output."""

    def __init__(self, product: "Product", index: int) -> None:
        super().__init__()
        self._product, self._index = product, index
        self.in_features, self.out_features = product.in_features, product.sizes[index]

    @property
    def weight(self) -> torch.Tensor:
        """Unpacked anew, for the few networks that compute with it themselves."""
        return self._product.weights()[self._index]

    @property
    def bias(self) -> torch.Tensor | None:
        return self._product.biases()[self._index]

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self._product.part(self._index, values)


class Product:
    """One or more linear layers that a network calls with the same input, computed together by the first of them."""

    def __init__(self, layers: Sequence[torch.nn.Linear]) -> None:
        self.in_features, self.sizes = layers[0].in_features, [layer.out_features for layer in layers]
        weights = [layer.weight.detach() for layer in layers]
        biases: list[torch.Tensor] = [layer.bias for layer in layers if layer.bias is not None]
        self._bias = torch.cat(biases).detach() if biases else None
        self._packed = torch.ops.mkldnn._reorder_linear_weight(torch.cat(weights))
        self._multiply = torch.ops.mkldnn._linear_pointwise.default  # not at import: some builds of torch lack it
        self._one_input = True
        self._values: weakref.ref[torch.Tensor] | None = None
        self._parts: dict[int, torch.Tensor] = {}

    def weights(self) -> Sequence[torch.Tensor]:
        return torch.split(self._packed.to_dense(), self.sizes)

    def biases(self) -> Sequence[torch.Tensor | None]:
        return [None] * len(self.sizes) if self._bias is None else torch.split(self._bias, self.sizes)

    def part(self, index: int, values: torch.Tensor) -> torch.Tensor:
        """What one layer makes of `values`, which must not be changed in place before the others are called with it.

        What the others make of it is kept until they are called, and never longer than `values` itself. Where one was
        called with another tensor than those before it, as in attention to an encoder, nothing is kept for those.
        """
        if index in self._parts:
            if self._values is not None and self._values() is values:
                return self._parts.pop(index)
            self._one_input = False
        self._parts = {}  # before there is more
        result: torch.Tensor = self._multiply(values, self._packed, self._bias, "none", [], "")
        if len(self.sizes) == 1:
            return result
        parts = dict(enumerate(torch.split(result, self.sizes, -1)))
        part = parts.pop(index)
        kept = self._parts = {other: parts[other] for other in parts if self._one_input or other > index}
        self._values = weakref.ref(values, lambda _: kept.clear())
        return part


def _products(parent: torch.nn.Module) -> Iterator[Sequence[str]]:
    """The names of a module's linear layers, those together that have one input."""
    left = {name: child for name, child in parent.named_children() if type(child) is torch.nn.Linear}
    for names in _ONE_INPUT:
        layers = [left[name] for name in names if name in left]
        if len(layers) == len(names) and len({(layer.in_features, layer.bias is None) for layer in layers}) == 1:
            yield names
            for name in names:
                del left[name]
    for name in left:
        yield (name,)


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
