"""Random numbers that depend on a seed and a position alone, so that nothing has to be carried along with a row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_64_BITS = (1 << 64) - 1


def row_seed(seed: int, index: int, number: int) -> int:
    """64 bits for sequence `number` of prompt `index`; a prompt alone has those of `seed + index` and index 0."""
    prompt = _mix(np.array([(seed + index) & _64_BITS], np.uint64))
    return int(_mix(prompt + np.uint64(number))[0])


def uniforms(seeds: NDArray[np.uint64], positions: Sequence[int]) -> NDArray[np.float32]:
    """One number in [0, 1) for each row: `seeds` [n] from `row_seed`, `positions` [n] of the tokens they choose."""
    bits = _mix(seeds ^ _mix(np.array(positions, np.uint64)))
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: neighbouring numbers become 64 bits each that have nothing in common."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
