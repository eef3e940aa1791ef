"""`build`: make the images of a file, prove that they work, and hand them where they are wanted."""

import contextlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from builders.build import build as build_images
from builders.counter import Counter
from builders.images.base import seen_from
from builders.images.layout import Platform
from builders.images.outputs import Output, write_archive, write_layout
from builders.images.store import BlobStore
from builders.lock import LOCK_FILE, Lock, base_name, check_beforehand, model_name
from builders.packages.sources import Sources
from builders.spec import DEFAULT_BASE, BuildOptions, Built
from builders.verifying import UnsoundImage
from compose.commands.build_report import BuildReport
from compose.commands.trials import Proofs, give, try_out, withdraw
from compose.images import build_specs, services_of
from compose.models import find
from compose.output import Console
from compose.spec import ModelComponentSpec
from compose.state import Selection, known_service
from infra.errors import ExitCode, UserError

if TYPE_CHECKING:
    from builders.weights import Resolved
    from compose.loader import Loaded
    from infra.docker.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How `build` was asked for. components: none for all of the file's services."""

    components: tuple[str, ...] = ()
    tag: str = "latest"
    locked: bool = False
    base: str | None = None
    wheels: Path | None = None
    index_url: str | None = None
    platform: str | None = None
    output: str | None = None
    verify: bool = True


def build(selection: Selection, wishes: Wishes, console: Console) -> None:
    """Print a line for each layer and a table of the images. Raises UserError."""
    try:
        _build(selection, wishes, console)
    except KeyboardInterrupt:
        raise UserError(
            "the build was ended before it was done",
            hint="the next one goes on behind the last whole layer",
            exit_code=ExitCode.INTERRUPTED,
        ) from None


def _build(selection: Selection, wishes: Wishes, console: Console) -> None:
    output = Output.parse(wishes.output) if wishes.output else None
    loaded = selection.load(console)
    options = options_of(loaded, wishes)
    images, report = build_all(loaded, wishes.components, options, console)
    store = BlobStore.of(options.environ)
    with store.in_use(partial(report.step, "")):
        proofs = Proofs.of(store)
        untried = proofs.lacking(images) if wishes.verify else []
        engine = _engine(output, untried, console)
        if engine is not None:
            with contextlib.closing(engine):
                untried = _startable(untried, engine, options.platform, console)
                ids = give(engine, images if output and output.kind == "docker" else untried, store, report)
                try:
                    try_out(engine, untried, ids, proofs, report)
                except UnsoundImage:
                    withdraw(proofs.lacking(untried), options.project, store, engine)
                    raise
        if output is not None and output.place is not None:
            write = write_layout if output.kind == "oci" else write_archive
            sizes = {layer.digest: layer.size for built in images for layer in built.image.layers}
            counter = Counter(report, "", f"writing {output.place}", sum(sizes.values()))
            write({built.reference: built.image for built in images}, store, output.place, counter.add)
    report.finish(images)


def bring_images(loaded: "Loaded", engine: "Engine", console: Console) -> dict[str, str]:
    """What the engine calls each service's image, once it has it as the file wants it. Raises UserError."""
    options = options_of(loaded, Wishes())
    images, report = build_all(loaded, (), options, console, brief=True)
    store = BlobStore.of(options.environ)
    with store.in_use(partial(report.step, "")):
        ids = give(engine, images, store, report)
    console.status("")
    return dict(zip(services_of(loaded), (ids[built.reference] for built in images), strict=True))


def build_all(
    loaded: "Loaded", services: Sequence[str], options: BuildOptions, console: Console, *, brief: bool = False
) -> tuple[list[Built], BuildReport]:
    """Make the images of these services, or of all; the terminal follows, brief: only what is new. Raises UserError."""
    known = services_of(loaded)
    wanted = [known_service(service, known) for service in services] or known
    console.status("looking for the models")
    lock = Lock.read(options.lock)
    components = [component for component in loaded.spec.models if component.name in wanted]
    if options.locked:
        names = [model_name(component.model.name, component.model.revision) for component in components]
        check_beforehand(options.lock, lock, [base_name(options.base, options.platform)], names)
    specs = build_specs(loaded, _models(loaded, components, lock), wanted)
    report = BuildReport(console, [spec.name for spec in specs], brief)
    return build_images(specs, options, report), report


def _startable(images: list[Built], engine: "Engine", platform: Platform, console: Console) -> list[Built]:
    """None of them, and a warning, where the engine's machine is of another kind."""
    name = engine.platform() if images else ""
    if not images or Platform(*name.split("/", 1)).serves(platform):
        return images
    console.warn(f"the images are not tried: they are for {platform}, and the engine's machine is {name}")
    return []


def _engine(output: Output | None, untried: Sequence[Built], console: Console) -> "Engine | None":
    """The engine, where somebody needs it. Raises UserError when images are to go there and it cannot be had."""
    wanted = output is not None and output.kind == "docker"
    if not wanted and not untried:
        return None
    from infra.docker.engine import connect
    from infra.docker.errors import EngineError

    try:
        return connect()
    except EngineError as error:
        if wanted:
            raise
        console.warn(f"the images are not tried: {error.message}; {error.hint}")
        return None


def _models(loaded: "Loaded", components: Sequence[ModelComponentSpec], lock: Lock | None) -> Mapping[str, "Resolved"]:
    """The commits and the files that the lock names; where it names none, what the hub or the cache has now."""
    found = {}
    for component in components:
        model = component.model
        commit = lock.commit(model.name, model.revision) if lock else None
        baked = lock.files(model.name, model.revision, commit) if lock else ()
        found[component.name] = find(loaded, component, commit, baked)
    return found


def options_of(loaded: "Loaded", wishes: Wishes) -> BuildOptions:
    """Raises UserError (exit 2) for a value that cannot be meant."""
    lock = loaded.directory / LOCK_FILE
    wanted = Platform.parse(wishes.platform) if wishes.platform else Platform.of_machine(platform.machine())
    return BuildOptions(
        lock=lock,
        environ=os.environ,
        tag=wishes.tag,
        base=seen_from(wishes.base, loaded.directory) if wishes.base else _base(lock, wanted),
        platform=wanted,
        sources=Sources(wishes.index_url, wishes.wheels),
        locked=wishes.locked,
    )


def _base(path: Path, wanted: Platform) -> str:
    """What was built on the last time, else the usual base."""
    lock = Lock.read(path)
    return (lock.base(wanted) if lock else None) or DEFAULT_BASE
