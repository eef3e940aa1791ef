"""Builds images without an engine: every layer from its recipe, and only where the store has none of that recipe."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from builders.baking import WeightsSet, read_set, set_bytes
from builders.base_python import python_of
from builders.causes import History, cause
from builders.code import tool_version
from builders.container import image_config, image_labels
from builders.contents import Content, own_of
from builders.file_store import FileStore
from builders.hub_errors import disk_explained
from builders.images.base import find_base, is_remote
from builders.images.layout import BaseImage, Image
from builders.images.store import BlobStore
from builders.lock import Lock, LockedModel, base_name, check_locked, packages_name
from builders.packages.layer import PackagesLayer
from builders.packages.resolving import Resolution, resolve_packages
from builders.packages.wanted import Wanted
from builders.preparing import prepare
from builders.scratch import scratch_folder
from builders.spec import BuildOptions, BuildSpec, Built, BuiltLayer, Listener
from infra.errors import ExitCode, UserError
from infra.files import not_writable
from services.settings import TaskSettings

_EPOCH: Final = "SOURCE_DATE_EPOCH"
"""The variable that gives all files another time than 1970, as reproducible-builds.org has it."""


def build(specs: Sequence[BuildSpec], options: BuildOptions, listener: Listener) -> list[Built]:
    """The images, in the order of their specs; all their blobs are in the user's store then.

    What was built before needs no network. A build that is ended at any moment leaves no image half made, and the next
    one goes on behind its last whole layer.

    Raises UserError: exit 3 for a model, a base or a file that cannot become part of an image, 4 for the hub, the
    index, the registry, the disk, and for a lock that does not fit.
    """
    store = BlobStore.of(options.environ)
    with disk_explained(store.root), scratch_folder(store.root.parent / "work") as scratch:
        return _Builder(store, options, listener, scratch).build(specs)


class _Counter:
    """Tells a listener how many of so many bytes are done."""

    def __init__(self, listener: Listener, image: str, what: str, total_bytes: int) -> None:
        self._listener, self._image, self._what = listener, image, what
        self._total_bytes = max(total_bytes, 1)
        self._bytes = 0
        self.add(0)

    def add(self, count: int) -> None:
        self._bytes += count
        self._listener.step(self._image, self._what, min(max(self._bytes / self._total_bytes, 0.0), 1.0))


class _Builder:
    """One build."""

    def __init__(self, store: BlobStore, options: BuildOptions, listener: Listener, scratch: Path) -> None:
        self.store = store
        self.scratch = scratch
        self.options = options
        self.listener = listener
        self.history = History(store.root / "history")
        self.files = FileStore(store.root.parent / "weights")
        self.mtime = _epoch_s(options.environ)
        self.created = datetime.fromtimestamp(self.mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if self.mtime else None

    def build(self, specs: Sequence[BuildSpec]) -> list[Built]:
        """What comes from elsewhere first: it takes longest, most often fails, and is what the lock is about."""
        options = self.options
        lock = Lock.read(options.lock)
        if options.locked and lock is None:
            check_locked(options.lock, lock, Lock(tool_version()))
        weights = {spec.name: self._weights(spec) for spec in specs if spec.model is not None}
        base = self._base(lock)
        python = python_of(base, self.store)
        wanted = {spec.name: Wanted(spec.kind, python, options.platform, spec.gpu) for spec in specs}
        packages = {packages_name(each): self._resolution(each, lock) for each in wanted.values()}
        now = Lock(
            tool=tool_version(),
            bases={base_name(options.base, options.platform): base.digest},
            models=_locked_models(specs, weights),
            packages=packages,
        )
        if options.locked:
            check_locked(options.lock, lock, now)
        built = [
            self._image(
                spec, base, wanted[spec.name], packages[packages_name(wanted[spec.name])], weights.get(spec.name)
            )
            for spec in specs
        ]
        if not options.locked:
            _write(options.lock, now.beside(lock).text)
        return built

    def _base(self, lock: Lock | None) -> BaseImage:
        """The one that the lock names, or for one of this machine, which costs no network, what it is now."""
        options = self.options
        self.listener.step("", f"looking for the base image {options.base}")
        pinned = lock.bases.get(base_name(options.base, options.platform)) if lock else None
        return find_base(
            options.base,
            self.store,
            platform=options.platform,
            environ=options.environ,
            pinned=pinned if is_remote(options.base) else None,
        )

    def _resolution(self, wanted: Wanted, lock: Lock | None) -> Resolution:
        known = lock.resolution(wanted) if lock else None
        if known is not None:
            return known
        self.listener.step("", f"choosing the packages of {packages_name(wanted)}")
        return resolve_packages(wanted, self.options.sources, self.options.environ)

    def _weights(self, spec: BuildSpec) -> WeightsSet:
        assert spec.model is not None
        model = TaskSettings.model_validate_json(spec.settings).model
        prepare(spec.model, model, lambda stage, progress: self.listener.step(spec.name, f"{stage} {model}", progress))
        total_bytes = set_bytes(spec.model.path, model)
        counter = _Counter(self.listener, spec.name, f"reading {model}", total_bytes)
        return read_set(spec.model.path, model, self.files, counter.add)

    def _image(
        self, spec: BuildSpec, base: BaseImage, wanted: Wanted, packages: Resolution, weights: WeightsSet | None
    ) -> Built:
        reference = f"{spec.repository}:{self.options.tag}"
        last = self.history.last(reference)
        own = own_of(spec, wanted, weights)
        contents = [self._packages(wanted, packages), *own.contents]
        layers = [BuiltLayer(layer, True, "the base image") for layer in base.layers]
        layers += [self._layer(spec, content, last) for content in contents]
        tool = tool_version()
        labels = image_labels(spec.name, base, kind=spec.kind, settings=own.settings, tool=tool, task=own.facts)
        config = image_config(spec.kind, base, self.options.platform, labels, self.created)
        image = Image.of(config, [built.layer for built in layers])
        if self.store.image(reference) != image:
            self.store.save_image(reference, image)
        self.history.keep(reference, [content.recipe for content in contents])
        built = Built(spec, reference, image, tuple(layers))
        self.listener.built(built)
        return built

    def _packages(self, wanted: Wanted, packages: Resolution) -> Content:
        options = self.options
        layer = PackagesLayer.of(wanted, packages)
        if layer.notice:
            self.listener.step("", layer.notice)
        return Content(layer.recipe, lambda folder: layer.make(folder, options.sources, options.environ))

    def _layer(self, spec: BuildSpec, content: Content, last: Mapping[str, Mapping[str, str]]) -> BuiltLayer:
        recipe = content.recipe
        self.listener.step(spec.name, f"making the layer of {recipe.purpose}")
        folder = self.scratch / recipe.key.removeprefix("sha256:")
        layer, reused = self.store.layer(
            recipe.key, lambda: content.make(folder), purpose=recipe.purpose, mtime=self.mtime
        )
        shutil.rmtree(folder, ignore_errors=True)
        built = BuiltLayer(layer, reused, cause(recipe, last, reused=reused))
        self.listener.layer(spec.name, built)
        return built


def _epoch_s(environ: Mapping[str, str]) -> int:
    text = environ.get(_EPOCH) or "0"
    if not re.fullmatch(r"[0-9]{1,11}", text):
        raise UserError(
            f"{_EPOCH} is {text!r}, which is no time",
            hint="it is a number of seconds since 1970, such as `git log -1 --format=%ct` prints",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return int(text)


def _locked_models(specs: Sequence[BuildSpec], weights: Mapping[str, WeightsSet]) -> dict[str, LockedModel]:
    """Models by name; where a file has two commits of one, the later ones with their commit."""
    models: dict[str, LockedModel] = {}
    for spec in specs:
        if spec.model is not None:
            files = {name: file.sha256 for name, file in weights[spec.name].files}
            model = LockedModel(spec.model.revision, files)
            name = TaskSettings.model_validate_json(spec.settings).model
            known = models.setdefault(name, model)
            if known != model:
                models[f"{name} at {spec.model.revision or weights[spec.name].digest}"] = model
    return models


def _write(path: Path, text: str) -> None:
    """In one step, and not at all when nothing has changed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise not_writable(path, error) from None
