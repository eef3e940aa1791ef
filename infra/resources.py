"""What one service may use of a machine, in Kubernetes' units, with one parser for each quantity."""

import math
import re
from dataclasses import dataclass
from typing import Any, Final

_DECIMAL: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_UNITS: Final = _DECIMAL | _BINARY

_CPU: Final = re.compile(r"([0-9]{1,7})(m)|([0-9]{1,4}(?:\.[0-9]{1,3})?)")
_MEMORY: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,3})?)([A-Za-z]{0,3})")
_GPU: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9._-]{0,61}[A-Za-z0-9]):)?([0-9]{1,2})")
_GPU_TYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,61}[A-Za-z0-9]")

_NO_TYPES: Final = ("true", "false", "yes", "no", "auto", "all", "none")

_LEAST_CPU: Final = 0.01
"""No engine gives a container less."""
_LEAST_MEMORY: Final = 64 * 2**20
"""No service of ours starts with less; a smaller number has lost its unit."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The limits of one service; None is no limit. cpu: processors. gpu_type: as the cluster's nodes are labelled."""

    cpu: float | None = None
    memory_bytes: int | None = None
    gpu_count: int = 0
    gpu_type: str | None = None

    @property
    def threads(self) -> int | None:
        """How many threads can compute at once within the limit."""
        return None if self.cpu is None else math.ceil(self.cpu)


def read_cpu(value: Any) -> float:
    """Processors of `500m`, `"2"`, `1.5`. Raises ValueError with a phrase that completes "NAME ..."."""
    text = _text(value)
    match = _CPU.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a number of processors such as 2 or 500m{_not(text)}")
    cpu = int(match[1]) / 1000 if match[2] else float(match[3])
    if cpu < _LEAST_CPU:
        raise ValueError(f"must be at least {write_cpu(_LEAST_CPU)}{_not(text)}")
    return cpu


def read_memory(value: Any) -> int:
    """Bytes of `512Mi`, `16Gi`, `8G` or a number of bytes. Raises ValueError as `read_cpu` does."""
    text = _text(value)
    match = _MEMORY.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        meant = _meant(match[1], match[2]) if match else ""
        raise ValueError(f"must be an amount such as 512Mi or 16Gi{_not(text)}{meant}")
    count = int(float(match[1]) * _UNITS[match[2]]) if "." in match[1] else int(match[1]) * _UNITS[match[2]]
    if count < _LEAST_MEMORY:
        meant = f"; did you mean `{text}Mi`?" if not match[2] and count * 2**20 >= _LEAST_MEMORY else ""
        raise ValueError(f"must be at least {write_memory(_LEAST_MEMORY)}{_not(text)}{meant}")
    return count


def read_gpu(value: Any) -> tuple[int, str | None]:
    """Count and type of `1`, `"2"` or `H100:2`. Raises ValueError as `read_cpu` does."""
    text = _text(value)
    match = _GPU.fullmatch(text)
    if match is None:
        meant = f"; did you mean `{text}:1`?" if _GPU_TYPE.fullmatch(text) and text.lower() not in _NO_TYPES else ""
        raise ValueError(f"must be a number of GPUs such as 1, or TYPE:NUMBER such as H100:2{_not(text)}{meant}")
    return int(match[2]), match[1]


def read_gpu_type(value: Any) -> str:
    """`H100`, `nvidia-tesla-t4`: what a node's label may say. Raises ValueError as `read_cpu` does."""
    text = _text(value)
    if not _GPU_TYPE.fullmatch(text):
        raise ValueError(f"must be a name such as H100: letters, digits, `.`, `_`, `-`{_not(text)}")
    return text


def write_cpu(cpu: float) -> str:
    """`2`, `500m`."""
    return str(int(cpu)) if cpu == int(cpu) else f"{round(cpu * 1000)}m"


def write_memory(count: int) -> str:
    """`16Gi`; a number of bytes where no binary unit says it exactly."""
    for unit, scale in reversed(_BINARY.items()):
        if count % scale == 0:
            return f"{count // scale}{unit}"
    return str(count)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _meant(number: str, unit: str) -> str:
    """The unit that other tools write so: `16GB`, `16GiB`, `16g`, which Docker takes for 16 Gi."""
    base = unit.rstrip("bB")
    known = {name.lower(): name for name in _UNITS if name}
    guess = f"{base}i" if len(base) == 1 and unit.islower() else base
    found = known.get(guess.lower())
    return f"; did you mean `{number}{found}`?" if found else ""


def _not(text: str) -> str:
    return f", not `{text}`" if text else ""
