"""Builds images without an engine: every layer from its recipe, and only where the store has none of that recipe."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from builders.causes import History, Recipe, cause
from builders.code import tool_version
from builders.container import image_config, image_labels
from builders.contents import Content, own_of
from builders.counter import Counter
from builders.gathering import Gathering, Ingredients
from builders.images.layout import Image, Layer
from builders.images.store import BlobStore
from builders.images.tar import Tree, content_size
from builders.packages.layer import PackagesLayer
from builders.scratch import scratch_folder
from builders.spec import BuildOptions, BuildSpec, Built, BuiltLayer, Listener, stored_name
from infra.errors import ExitCode, UserError

_EPOCH: Final = "SOURCE_DATE_EPOCH"
"""The variable that gives images another time than 1970, as reproducible-builds.org has it."""


def build(specs: Sequence[BuildSpec], options: BuildOptions, listener: Listener) -> list[Built]:
    """The images, in the order of their specs; all their blobs are in the user's store then.

    They get their names there at last, one right after the other, once the lock tells what they are made of. What was
    built before needs no network. A build that is ended at any moment leaves no image half made, and the next one goes
    on behind its last whole layer.

    Raises UserError: exit 3 for a model, a base or a file that cannot become part of an image, 4 for the hub, the
    index, the registry, the disk, and for a lock that does not fit.
    """
    store = BlobStore.of(options.environ)
    mtime = _epoch_s(options.environ)
    with (
        store.in_use(partial(listener.step, "")),
        scratch_folder(store.root.parent / "work") as scratch,
    ):
        gathering = Gathering(store, options, listener, scratch)
        gathered = gathering.gather(specs)
        assembly = _Assembly(store, options, listener, scratch, mtime, gathering.brought)
        images = [assembly.image(spec, each) for spec, each in zip(specs, gathered, strict=True)]
        gathering.keep(gathered)
        for built in images:
            name = stored_name(options.project, built.reference)
            if store.image(name) != built.image:
                store.save_image(name, built.image)
            listener.built(built)
    return images


def _epoch_s(environ: Mapping[str, str]) -> int:
    text = environ.get(_EPOCH) or "0"
    if not re.fullmatch(r"[0-9]{1,11}", text):
        raise UserError(
            f"{_EPOCH} is {text!r}, which is no time",
            hint="it is a number of seconds since 1970, such as `git log -1 --format=%ct` prints",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return int(text)


Recipes = Mapping[str, Mapping[str, str]]
"""The parts of each layer by its purpose."""


@dataclass(frozen=True, slots=True)
class _Assembly:
    """Makes images in a store.

    scratch: a folder to work in. mtime: of small files, in seconds since 1970. brought: the layers of the base that are
    new here, until an image has them.
    """

    store: BlobStore
    options: BuildOptions
    listener: Listener
    scratch: Path
    mtime: int
    brought: set[str]

    def image(self, spec: BuildSpec, ingredients: Ingredients) -> Built:
        """Have all its layers in the store."""
        reference = f"{spec.repository}:{self.options.tag}"
        remembered = stored_name(self.options.project, reference)
        last = self.history.last(remembered)
        own = own_of(spec, ingredients, self.mtime)
        contents = (self._packages(spec, ingredients), *own.contents)
        base = Recipe("base", {"the base image": ingredients.base.digest})
        layers = [self._base_layer(spec, layer, base, last) for layer in ingredients.base.layers]
        layers += [self._layer(spec, content, last) for content in contents]
        created = datetime.fromtimestamp(self.mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if self.mtime else None
        labels = image_labels(
            spec.name,
            ingredients.base,
            kind=spec.kind,
            settings=own.settings,
            tool=tool_version(),
            task=own.facts,
            created=created,
        )
        config = image_config(spec.kind, ingredients.base, self.options.platform, labels, created)
        image = Image.of(config, [built.layer for built in layers])
        self.history.keep(remembered, [base, *(content.recipe for content in contents)])
        return Built(spec, reference, image, tuple(layers))

    @property
    def history(self) -> History:
        return History(self.store.root / "history")

    def _packages(self, spec: BuildSpec, ingredients: Ingredients) -> Content:
        layer = PackagesLayer.of(ingredients.wanted, ingredients.packages)

        def make(at: Path) -> Tree:
            if layer.notice:
                self.listener.note(spec.name, layer.notice)
            return layer.make(at, self.options.sources, self.options.environ)

        return Content(layer.recipe, make)

    def _base_layer(self, spec: BuildSpec, layer: Layer, recipe: Recipe, last: Recipes) -> BuiltLayer:
        reused = layer.digest not in self.brought
        self.brought.discard(layer.digest)
        built = BuiltLayer(layer, reused, cause(recipe, last, reused=reused))
        self.listener.layer(spec.name, built)
        return built

    def _layer(self, spec: BuildSpec, content: Content, last: Recipes) -> BuiltLayer:
        recipe = content.recipe
        counter: Counter
        at = self.scratch / recipe.key.removeprefix("sha256:")

        def make() -> Tree:
            nonlocal counter
            counter = Counter(self.listener, spec.name, f"making the layer of {recipe.purpose}")
            tree = content.make(at)
            counter.expect(content_size(tree))
            return tree

        def advance(count: int) -> None:
            counter.add(count)

        layer, reused = self.store.layer(
            recipe.key,
            make,
            purpose=recipe.purpose,
            mtime=content.mtime,
            advance=advance,
            waiting=partial(self.listener.step, spec.name, f"waiting for who makes the layer of {recipe.purpose}"),
        )
        shutil.rmtree(at, ignore_errors=True)
        built = BuiltLayer(layer, reused, cause(recipe, last, reused=reused))
        self.listener.layer(spec.name, built)
        return built
