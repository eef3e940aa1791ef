"""A real registry on loopback, asked how much it holds and how large an image is in it."""

import json
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docker.registry import real_registry

_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Registry:
    """name: as in references."""

    name: str
    folder: Path

    @property
    def bytes(self) -> int:
        """Of all blobs."""
        return sum(path.stat().st_size for path in self.folder.rglob("blobs/sha256/*/*/data"))

    def layers(self, repository: str, tag: str = "latest") -> list[int]:
        """How large each layer is in it, from the base on."""
        request = urllib.request.Request(
            f"http://{self.name}/v2/{repository}/manifests/{tag}", headers={"Accept": _TYPES}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            manifest: dict[str, Any] = json.load(answer)
        return [layer["size"] for layer in manifest["layers"]]


@contextmanager
def registry(scratch: Path) -> Iterator[Registry]:
    """An empty one, as long as it is needed."""
    folder = Path(tempfile.mkdtemp(dir=scratch, prefix="registry-"))
    with real_registry(folder) as running:
        yield Registry(running.name, folder / "store")
