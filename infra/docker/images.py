"""The few requests that we make to a Docker engine about images, with errors that a person can read."""

import contextlib
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.docker.errors import asking, no_image, refused

_TIMEOUT_S: Final = 1800
"""For a whole image: the engine says nothing while it unpacks or collects the layers."""


def is_local(address: str) -> bool:
    """Whether the containers of an engine at this address are processes of this machine."""
    return sys.platform == "linux" and address.startswith(("unix:", "http+unix:"))


@dataclass(frozen=True, slots=True)
class Unused:
    """An image without a name that no container was made from. size: bytes that it shares with no other image."""

    id: str
    size: int


class Images:
    """The images of an engine. All methods block, and raise EngineError.

    client: the library's own. address: of the engine.
    """

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address

    def id(self, reference: str) -> str:
        """The digest of an image's configuration, which names all that is in it."""
        from docker.errors import ImageNotFound

        with asking(self._address, f"find the image {reference}"):
            try:
                return str(self._client.inspect_image(reference)["Id"])
            except ImageNotFound:
                raise no_image(reference) from None

    def layers(self) -> dict[str, tuple[str, ...]]:
        """The digests of the unpacked layers of every image, by the image's id."""
        from docker.errors import ImageNotFound

        layers = {}
        with asking(self._address, "look at its images"):
            for image_id in {str(each["Id"]) for each in self._client.images()}:
                with contextlib.suppress(ImageNotFound):  # somebody has removed it meanwhile
                    found = self._client.inspect_image(image_id)
                    layers[image_id] = tuple((found.get("RootFS") or {}).get("Layers") or ())
        return layers

    def save(self, reference: str) -> Iterator[bytes]:
        """An image as the archive that `docker save` writes, in pieces."""
        with asking(self._address, f"read the image {reference}"), self._patiently():
            yield from self._client.get_image(reference)

    def load(self, archive: Iterable[bytes]) -> None:
        """Take the images of an archive in, with the names in it."""
        with asking(self._address, "load an image"), self._patiently():
            for message in self._client.load_image(archive):
                if "error" in message:
                    raise refused("load an image", str(message["error"]))

    def tag(self, image_id: str, name: str) -> None:
        """Give an image that is there one more name, `REPOSITORY:TAG`."""
        repository, _, tag = name.rpartition(":")
        with asking(self._address, f"name an image {name}"):
            self._client.tag(image_id, repository, tag)

    def untag(self, name: str) -> None:
        """Take a name from an image, and remove one without any; one that a container uses keeps it."""
        from docker.errors import APIError

        with asking(self._address, f"take the name {name} away"):
            try:
                self._client.remove_image(name)
            except APIError as error:
                if error.status_code not in (404, 409):
                    raise

    def unused(self, labels: Collection[str]) -> list[Unused]:
        """Those that have all these labels."""
        with asking(self._address, "say what its disk holds"), self._patiently():
            images = self._client.df()["Images"] or []
        return [
            Unused(str(image["Id"]), max(image["Size"] - max(image["SharedSize"], 0), 0))
            for image in images
            if not _names(image) and image["Containers"] == 0 and (image["Labels"] or {}).keys() >= set(labels)
        ]

    def remove(self, image_id: str) -> bool:
        """Remove an image without a name; says whether it went, for it stays when a container uses it by now."""
        from docker.errors import APIError

        with asking(self._address, "remove an image"):
            try:
                self._client.remove_image(image_id, noprune=True)
            except APIError as error:
                if error.status_code not in (404, 409):
                    raise
                return False
        return True

    def folder(self) -> Path | None:
        """Where it keeps them, if that is on this machine and can be looked at."""
        with asking(self._address, "say where its images are"):
            folder = Path(self._client.info()["DockerRootDir"])
        return folder if is_local(self._address) and os.access(folder, os.R_OK | os.X_OK) else None

    @contextlib.contextmanager
    def _patiently(self) -> Iterator[None]:
        usual_s, self._client.timeout = self._client.timeout, _TIMEOUT_S
        try:
            yield
        finally:
            self._client.timeout = usual_s


def _names(image: Mapping[str, Any]) -> list[str]:
    """Tags, and digests under which it was pulled; engines write `<none>` for there being none."""
    return [name for kind in ("RepoTags", "RepoDigests") for name in image[kind] or () if "<none>" not in name]
