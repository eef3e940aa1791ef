"""In which type a model computes: one rule for the engine that does it and for whoever estimates what it takes."""

from typing import Final

from services.engine.loading.machine import Processor

BYTES: Final = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Of one weight, by torch's names."""
PACKED_BYTES: Final = 1
"""Of one weight of a linear layer in torch's packed int8 form."""

PACKING_SHARE: Final = 0.5
"""Of the free memory, how much the weights that a processor lays out anew may take."""

_SHARE_FOR_FLOAT32: Final = 0.6
"""Of the memory that is free, how much a model may take when it is widened to float32."""


def computing_type(
    precision: str, quantization: str | None, *, stored: str, parameters: int, processor: Processor | None
) -> str:
    """The type, by torch's name, that a model is loaded in.

    precision, quantization: as the file says. stored: the type of most weights. processor: None on a GPU.
    `auto` is the stored type where the machine is fast at it, else float32 where that fits.
    """
    if quantization == "int8":
        return "float32"
    if precision != "auto":
        return precision
    if processor is None or stored == "float32" or (stored == "bfloat16" and processor.fast_bfloat16):
        return stored
    available = processor.available_bytes
    fits = available is None or parameters * BYTES["float32"] <= available * _SHARE_FOR_FLOAT32
    return "float32" if fits else stored
