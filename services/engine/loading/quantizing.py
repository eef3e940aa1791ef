"""Packs the linear layers of a network to int8, one after another, so that it is never in memory in float32 as a whole.

Import it in the engine's thread only.
"""

import contextlib
import ctypes
import gc
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch


def quantize(network: Any) -> None:
    """Weights of linear layers become int8, in place, and everything else float32, which int8 layers take and give.

    The network may be in any type, and its weights mapped from a file: each is widened alone and given back at once.
    """
    packed: dict[torch.nn.Module, torch.nn.Module] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces torchao as the successor, whose int8 is slower on processors
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if type(child) is torch.nn.Linear:
                    if child not in packed:
                        packed[child] = _pack(child)
                    setattr(parent, name, packed[child])
    packed.clear()
    network.float()
    for config in (network.config, network.config.get_text_config()):
        config.dtype = torch.float32
    _give_back_memory()


@contextlib.contextmanager
def widened(network: torch.nn.Module) -> Iterator[None]:
    """Inside the block the packed layers of this part of a network compute in float32, with the weights that they have.

    Packed layers round what they are given by the largest number of the batch, so that neighbours show in the result.
    """
    packed = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, torch.ao.nn.quantized.dynamic.Linear)
    ]
    try:
        for parent, name, child in packed:
            setattr(parent, name, _unpack(child))
        yield
    finally:
        for parent, name, child in packed:
            setattr(parent, name, child)


def _unpack(packed: Any) -> torch.nn.Module:
    linear = torch.nn.Linear(packed.in_features, packed.out_features, packed.bias() is not None, device="meta")
    linear.weight = torch.nn.Parameter(packed.weight().dequantize(), requires_grad=False)
    if packed.bias() is not None:
        linear.bias = torch.nn.Parameter(packed.bias(), requires_grad=False)
    return linear


def _pack(linear: torch.nn.Linear) -> torch.nn.Module:
    widened: Any = torch.nn.Linear(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
    widened.weight = torch.nn.Parameter(linear.weight.float(), requires_grad=False)
    if linear.bias is not None:
        widened.bias = torch.nn.Parameter(linear.bias.float(), requires_grad=False)
    widened.qconfig = torch.ao.quantization.default_dynamic_qconfig
    packed: Any = torch.ao.nn.quantized.dynamic.Linear
    module: torch.nn.Module = packed.from_float(widened)
    return module


def _give_back_memory() -> None:
    """The allocator keeps what was freed between other blocks; here that may be a multiple of the network's size."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not every C library has it
        if trim is not None:
            trim(0)
