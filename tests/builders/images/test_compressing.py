"""Compressed layers unpack to what went in, and the bytes do not depend on how it came in or on the processors."""

import gzip
import random

import pytest
import zstandard

from builders.images.compressing import BLOCK_BYTES, Compression, compressor
from builders.images.layout import digest_of

pytestmark = pytest.mark.unit

SIZES = (0, 1, 1000, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES // 2)


def content(size: int) -> bytes:
    """Neither empty of patterns nor full of them."""
    source = random.Random(size)
    words = [source.randbytes(9) for _ in range(300)]
    return b"".join(source.choice(words) for _ in range(size // 9 + 1))[:size]


def compressed(compression: Compression, data: bytes, step: int) -> bytes:
    machine = compressor(compression)
    assert machine is not None
    pieces = [machine.compress(memoryview(data)[start : start + step]) for start in range(0, len(data), step)]
    return b"".join([*pieces, machine.flush()])


@pytest.mark.parametrize("size", SIZES)
def test_gzip_gives_back_what_went_in(size: int) -> None:
    data = content(size)
    packed = compressed(Compression.GZIP, data, 1 << 20)
    assert gzip.decompress(packed) == data
    assert packed[4:8] == bytes(4), "the time"
    assert size < BLOCK_BYTES or len(packed) < size * 0.4


@pytest.mark.parametrize("size", SIZES)
def test_zstd_gives_back_what_went_in(size: int) -> None:
    data = content(size)
    packed = compressed(Compression.ZSTD, data, 1 << 20)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == data


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
@pytest.mark.parametrize("processors", [1, 3])
def test_the_bytes_depend_on_the_content_alone(
    compression: Compression, processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = content(5 * BLOCK_BYTES // 2)
    expected = compressed(compression, data, 1 << 20)
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    assert digest_of(compressed(compression, data, 70_001)) == digest_of(expected)


def test_none_is_no_compressor() -> None:
    assert compressor(Compression.NONE) is None
