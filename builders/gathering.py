"""Brings together what images take from elsewhere, the models, the base and the packages, and keeps it to the lock."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builders.baking import WeightsSet, read_set, set_bytes
from builders.base_python import python_of
from builders.code import tool_version
from builders.counter import Counter
from builders.file_store import FileStore
from builders.headers import tensors_of
from builders.images.base import find_base, is_remote, located
from builders.images.layout import BaseImage
from builders.images.store import BlobStore
from builders.lock import Lock, LockedModel, base_name, check_beforehand, check_locked, model_name, packages_name
from builders.packages.resolving import Resolution, resolve_packages
from builders.packages.wanted import Wanted
from builders.preparing import prepare
from builders.spec import BuildOptions, BuildSpec, Listener
from infra.files import not_writable, sweep_unfinished, write_whole
from infra.locks import alone_in
from services.settings import TaskSettings


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What one image is made of, beside what is ours. The rest is a task's.

    model: as the user calls it. named: as the lock calls it. locked: what stands there.
    """

    base: BaseImage
    wanted: Wanted
    packages: Resolution
    model: str = ""
    named: str = ""
    locked: LockedModel | None = None
    weights: WeightsSet | None = None


class Gathering:
    """One build's.

    scratch: a folder to work in. brought: the digests of the layers of the base that were not here before.
    """

    def __init__(self, store: BlobStore, options: BuildOptions, listener: Listener, scratch: Path) -> None:
        self._store = store
        self._options = options
        self._listener = listener
        self._scratch = scratch
        self._files = FileStore(store.root.parent / "weights")
        self._lock = Lock.read(options.lock)
        self.brought: set[str] = set()

    def gather(self, specs: Sequence[BuildSpec]) -> list[Ingredients]:
        """For each image, in order; the lock is checked. Raises UserError as `builders.build.build` does.

        Models come last, because they are large: what the lock refuses without them is not downloaded.
        """
        options = self._options
        if options.locked:
            models = [model_name(_model_of(spec), spec.revision) for spec in specs if spec.model is not None]
            check_beforehand(options.lock, self._lock, [base_name(options.base, options.platform)], models)
        base = self._base()
        python = python_of(base, self._store)
        resolutions: dict[Wanted, Resolution] = {}
        planned = []
        for spec in specs:
            wanted = Wanted(spec.kind, python, options.platform, spec.gpu)
            if wanted not in resolutions:
                resolutions[wanted] = self._resolution(wanted)
            planned.append(self._expected(spec, Ingredients(base, wanted, resolutions[wanted])))
        self._check(planned)
        gathered = [self._with_model(spec, each) for spec, each in zip(specs, planned, strict=True)]
        self._check(gathered)
        return gathered

    def _check(self, gathered: Sequence[Ingredients]) -> None:
        if self._options.locked:
            check_locked(self._options.lock, self._lock, self._now(gathered))

    def keep(self, gathered: Sequence[Ingredients]) -> None:
        """Write the lock, once the images are there. Raises UserError (exit 4) where it cannot be written."""
        path = self._options.lock
        if self._options.locked:
            return
        try:
            with alone_in(path.parent):  # another build may have written it meanwhile
                sweep_unfinished(path)
                lock = Lock.read(path)
                text = self._now(gathered).beside(lock).text
                if lock is None or path.read_text(encoding="utf-8") != text:
                    write_whole(path, text)
        except OSError as error:
            raise not_writable(path, error) from None

    def _now(self, gathered: Sequence[Ingredients]) -> Lock:
        options = self._options
        return Lock(
            tool=tool_version(),
            bases={base_name(options.base, options.platform): each.base.digest for each in gathered},
            models={each.named: each.locked for each in gathered if each.locked is not None},
            packages={packages_name(each.wanted): each.packages for each in gathered},
        )

    def _expected(self, spec: BuildSpec, ingredients: Ingredients) -> Ingredients:
        """With the commit of its model, and the files that the lock has of that."""
        if spec.model is None:
            return ingredients
        name = _model_of(spec)
        named = model_name(name, spec.revision)
        known = self._lock.models.get(named) if self._lock else None
        locked = LockedModel(spec.model.revision, known.files if known else {})
        return replace(ingredients, model=name, named=named, locked=locked)

    def _with_model(self, spec: BuildSpec, ingredients: Ingredients) -> Ingredients:
        """With its weights, brought here where they are not, and their real files."""
        if spec.model is None:
            return ingredients
        name = ingredients.model
        step = self._listener.step
        prepare(spec.model, name, lambda stage, done: step(spec.name, f"{stage} {name}", done), self._scratch)
        if spec.model.unlisted:
            text = f"the hub could not be asked for all files of {name}: the image gets those that are here"
            self._listener.note(spec.name, text)
        path, revision = spec.model.path, spec.model.revision
        only = self._lock.files(name, spec.revision, revision) if self._lock else ()
        counter = Counter(self._listener, spec.name, f"reading {name}", set_bytes(path, name, only))
        weights = read_set(path, name, self._files, counter.add, only)
        locked = LockedModel(
            revision,
            {path: file.sha256 for path, file in weights.files},
            weights.weights_bytes,
            sum(tensor.elements for file in weights.tensors for tensor in tensors_of(file.path)),
        )
        return replace(ingredients, locked=locked, weights=weights)

    def _base(self) -> BaseImage:
        """The one that the lock names, or for one of this machine, which costs no network, what it is now."""
        options = self._options
        reference = located(options.base, options.project)
        counter = Counter(self._listener, "", f"looking for the base image {reference}")
        before = self._store.digests()
        pinned = self._lock.bases.get(base_name(options.base, options.platform)) if self._lock else None
        base = find_base(
            reference,
            self._store,
            platform=options.platform,
            environ=options.environ,
            pinned=pinned if is_remote(options.base) else None,
            advance=counter.add,
            expect=counter.expect,
        )
        self.brought = {layer.digest for layer in base.layers} - before
        return base

    def _resolution(self, wanted: Wanted) -> Resolution:
        known = self._lock.resolution(wanted) if self._lock else None
        if known is not None:
            return known
        if self._options.locked and self._lock is not None:
            name = packages_name(wanted)
            had = self._lock.packages.get(name)
            now = {name: Resolution(wanted.digest, had.packages if had else ())}
            check_locked(self._options.lock, self._lock, Lock(tool_version(), packages=now))
        self._listener.step("", f"choosing the packages of {packages_name(wanted)}")
        return resolve_packages(wanted, self._options.sources, self._options.environ, self._scratch)


def _model_of(task: BuildSpec) -> str:
    """As the user calls it."""
    return TaskSettings.model_validate_json(task.settings).model
