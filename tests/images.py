"""Images as `build` names and labels them, of layers that a test chooses."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builders.baking import WeightsSet
from builders.code import tool_version
from builders.container import image_labels
from builders.contents import own_of
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
