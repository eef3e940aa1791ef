"""Images as `build` names and labels them, of layers that a test chooses, and who would remove them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from builders.baking import WeightsSet
from builders.code import tool_version
from builders.container import image_labels
from builders.contents import own_of
from builders.garbage import prune
from builders.gathering import Ingredients
from builders.images.layout import BaseImage, Image, ImageConfig, Layer, Platform
from builders.images.store import BlobStore
from builders.lock import LockedModel
from builders.packages.resolving import Resolution
from builders.packages.wanted import Wanted
from builders.spec import stored_name
from builders.weights import Resolved
from compose.images import build_specs
from compose.loader import Loaded

COMMIT = "1" * 40
T = TypeVar("T")


class Pruning:
    """A prune of everything that begins in the midst of what has to hold it off."""

    def __init__(self, store: BlobStore) -> None:
        self._waits = threading.Event()
        self._thread = threading.Thread(target=partial(prune, store, everything=True, waiting=self._waits.set))

    def beside(self, call: Callable[..., T]) -> Callable[..., T]:
        """The same call, which goes on once the prune waits."""

        def called(*arguments: Any) -> T:
            if self._thread.ident is None:
                self._thread.start()
            assert self._waits.wait(10), "the prune does not wait"
            return call(*arguments)

        return called

    def join(self) -> None:
        self._thread.join()


def keep_image(store: BlobStore, loaded: Loaded, service: str, layers: Sequence[Layer], tag: str = "latest") -> Image:
    """The image of a service of the file, in the store as a build leaves it; its model is at COMMIT."""
    (spec,) = build_specs(loaded, {service: Resolved(Path("/models/here"), COMMIT, {})}, [service])
    base = BaseImage("python:3.11-slim", f"sha256:{'a' * 64}", ImageConfig(), ())
    wanted = Wanted(spec.kind, "3.11", Platform(), spec.gpu)
    ingredients = Ingredients(base, wanted, Resolution(wanted.digest, ()))
    if spec.model is not None:
        locked = LockedModel(COMMIT, {})
        ingredients = replace(ingredients, model="acme/tiny", locked=locked, weights=WeightsSet(()))
    own = own_of(spec, ingredients)
    labels = image_labels(spec.name, base, kind=spec.kind, settings=own.settings, tool=tool_version(), task=own.facts)
    image = Image.of(ImageConfig(labels=labels), layers)
    store.save_image(stored_name(loaded.directory, f"{spec.repository}:{tag}"), image)
    return image
