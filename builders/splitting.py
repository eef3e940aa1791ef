"""Takes a task's image apart into two, without a new blob of any size: the task, and its weights to be mounted."""

import json
from dataclasses import dataclass
from typing import Final

from builders.baking import MODELS, is_weights
from builders.container import own_labels, weights_labels
from builders.images.blobs import LayerComposer
from builders.images.layout import Image, ImageConfig, Layer, Platform
from builders.images.tar import Folder, Link, Tree, write_tar

MOUNT: Final = "/weights"
"""Where the task looks for the image of its weights."""
_LINK: Final[Tree] = {MODELS: Link(f"{MOUNT[1:]}{MODELS}"), MOUNT: Folder()}
"""Layers have their weights in `/models`, so a mounted image shows them one folder further down. A mount of that folder
alone, a `subPath`, would do without a link; but containerd before 2.2 mounts the whole image then, and says nothing."""


@dataclass(frozen=True, slots=True)
class Split:
    """task: has `link` in place of its weights, and works with `weights` mounted at MOUNT, from its root on.

    weights: equal for all tasks over the same weights on one kind of machine. link: the blob that the image had not.
    """

    task: Image
    weights: Image
    link: bytes


def split(image: Image) -> Split | None:
    """None for an image without weights. It must be as it was built, with layers that nobody has compressed."""
    weights = [layer for layer in image.layers if is_weights(layer.purpose)]
    digest = own_labels(image).get("weights")
    if not weights or digest is None:
        return None
    layer, link = _link()
    first = image.layers.index(weights[0])
    kept = [each for each in image.layers if each not in weights]
    platform = Platform.from_json(json.loads(image.config))
    config = ImageConfig(platform=platform, labels=weights_labels(digest))
    return Split(image.of_layers([*kept[:first], layer, *kept[first:]]), Image.of(config, weights), link)


def _link() -> tuple[Layer, bytes]:
    composer = LayerComposer()
    write_tar(_LINK, composer)
    layer, parts = composer.finish("a link to where the weights are mounted")
    return layer, b"".join(part for part in parts if isinstance(part, bytes))
