"""Tars as others write them: honest ones, and such as make a reader work or remember without end."""

import io
import tarfile
from typing import Final


def tar_of(pax_headers: dict[str, str] | None = None, /, **files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers=pax_headers) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _header(size: int) -> bytes:
    info = tarfile.TarInfo("usr/large")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


LARGE_HEADER: Final = tar_of({"comment": "x" * (1 << 20)}, **{"usr/bin/python3.11": b"x"})
ENDLESS: Final = _header(1 << 80)
CHAIN: Final = tar_of({"comment": "x"})[:1024] * 2000
"""Nothing but extended headers."""
HOSTILE: Final = {"large header": LARGE_HEADER, "endless": ENDLESS, "chain": CHAIN}
