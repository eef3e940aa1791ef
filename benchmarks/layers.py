"""Counts the megabytes a second at which layers are made and images are handed out.

    python -m benchmarks.layers [--megabytes 1000] [--package torch]

Weights are one file of random bytes; a package has thousands of files, and is taken as it is installed here. Each step
is done once, on the disk of temporary files. What a core would do alone tells more where a machine is shared.
"""

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from builders.images.compressing import Compression
from builders.images.layout import Image, ImageConfig
from builders.images.outputs import write_archive, write_layout
from builders.images.store import BlobStore
from builders.images.tar import File, folder_tree

_CHUNK_BYTES = 1 << 20


@contextmanager
def step(name: str, size_bytes: Callable[[], int]) -> Iterator[None]:
    """Print how fast the block dealt with that many bytes, which are asked for behind it."""
    started, computed = time.perf_counter(), time.process_time()
    yield
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - computed
    megabytes = size_bytes() / 1e6
    print(f"{name:<34}{megabytes:8.0f}{megabytes / seconds:8.0f}{megabytes / cpu_s:16.0f}", flush=True)


def write_weights(path: Path, megabytes: int) -> None:
    """Bytes that no compressor makes smaller."""
    with path.open("wb") as file:
        for _ in range(megabytes * 1_000_000 // _CHUNK_BYTES + 1):
            file.write(os.urandom(_CHUNK_BYTES))


def installed(package: str) -> Path:
    """Its folder."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def measure(folder: Path, megabytes: int, package: str) -> None:
    """Print a line for each step."""
    store = BlobStore(folder / "store")
    weights = folder / "weights"
    write_weights(weights, megabytes)
    size = weights.stat().st_size
    print(f"{'':<34}{'MB':>8}{'MB/s':>8}{'MB/s of a core':>16}")
    with step("weights, left where they are", lambda: size):
        referring, _ = store.layer("1", lambda: {"/models/w": File(weights, lasting=True)}, purpose="weights")
    with step("weights, copied", lambda: size):
        BlobStore(folder / "other").layer("1", lambda: {"/models/w": File(weights)}, purpose="weights")
    with step(f"{package}, copied", lambda: plain.size):
        plain, _ = store.layer("2", lambda: folder_tree(installed(package), "/opt"), purpose="packages")
    for compression in (Compression.GZIP, Compression.ZSTD):
        with step(f"{package}, {compression}", lambda: plain.size):
            packed = store.compressed(plain, compression)
        print(f"{'  of which is left':<34}{packed.size / 1e6:8.0f}")
    image = Image.of(ImageConfig(), [plain, referring])
    with step("an OCI layout", lambda: image.size):
        write_layout({"image:1": image}, store, folder / "layout")
    with step("an archive", lambda: image.size):
        write_archive({"image:1": image}, store, folder / "image.tar")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the making of layers.")
    parser.add_argument("--megabytes", type=int, default=1000, help="of weights")
    parser.add_argument("--package", default="torch", help="that is installed here")
    options, _ = parser.parse_known_args()  # `python -m benchmarks` hands everybody's arguments to everybody
    with tempfile.TemporaryDirectory() as temporary:
        measure(Path(temporary), options.megabytes, options.package)


if __name__ == "__main__":
    main()
