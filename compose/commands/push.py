"""`push`: bring the images of a file to a registry, each blob once."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from builders.counter import Counter
from builders.images.compressing import Compression
from builders.images.layout import Image
from builders.images.reference import DOCKER_HUB, Reference
from builders.images.registry import Pushed, Pusher, compressed
from builders.images.repository import Registry
from builders.images.store import BlobStore
from builders.spec import stored_name
from compose.commands.build_report import BuildReport
from compose.commands.trials import Proofs
from compose.images import is_current, repository, services_of
from compose.output import Console, columns
from compose.parts import parts_of
from compose.state import Selection, known_service
from infra.errors import ExitCode, UserError
from infra.sizes import size

if TYPE_CHECKING:
    from compose.loader import Loaded


def push(
    selection: Selection,
    registry: str,
    console: Console,
    *,
    components: tuple[str, ...] = (),
    tag: str = "latest",
    compression: Compression = Compression.NONE,
    image_volumes: bool = False,
) -> None:
    """Push what `build` has made of these services, or of all, and print a table of what became of it.

    registry: `HOST[:PORT][/FOLDER]`. compression: of the layers but weights; with it an image has another digest than
    the one that was built, and the same id in an engine. image_volumes: also the parts of each task's image.

    Raises UserError: exit 2 for what is no registry, 3 for an image that is not built or not of the file as it is now,
    4 for what goes wrong between here and there.
    """
    loaded = selection.load(console)
    known = services_of(loaded)
    wanted = [known_service(component, known) for component in components] or known
    names = [repository(loaded, service) for service in wanted]
    targets = [destination(registry, name) for name in names]
    store = BlobStore.of(os.environ)
    report = BuildReport(console, names)
    with store.in_use(partial(report.step, "")):
        images = built_images(loaded, store, wanted, tag)
        proofs = Proofs.of(store)
        for name, image in zip(names, images, strict=True):
            if not proofs.has(image):
                console.warn(f"{name}:{tag} was never tried")
        console.status(f"asking {targets[0].registry}")
        pusher = Pusher(Registry.connect(targets[0].registry, os.environ), store)
        shipments = [_Shipment(image, target, tag) for image, target in zip(images, targets, strict=True)]
        if image_volumes:
            shipments += _parts(loaded, store, registry, zip(wanted, images, strict=True), tag)
        pushed = []
        for each in shipments:
            image, name = each.image, each.target.name
            if compression is not Compression.NONE:
                report.step("", f"compressing {name}")
                image = compressed(image, store, compression)
            counter = Counter(report, "", f"pushing {name}", image.size)
            pushed.append(pusher.push(image, each.target.repository, each.tag, counter.add))
            store.save_pushed(f"{name}:{each.tag}", (each.part_of or each.image).digest, image.digest)
    console.status("")
    console.result(_table([each.target for each in shipments], pushed))


@dataclass(frozen=True, slots=True)
class _Shipment:
    """part_of: the image that was built, where this is a part of it."""

    image: Image
    target: Reference
    tag: str
    part_of: Image | None = None


def _parts(
    loaded: "Loaded", store: BlobStore, registry: str, built: Iterable[tuple[str, Image]], tag: str
) -> list[_Shipment]:
    """The parts of each task's image, those that tasks share once, and weights before what needs them."""
    found: dict[tuple[str, str], _Shipment] = {}
    for service, image in built:
        parts = parts_of(loaded, service, image, tag)
        if parts is not None:
            store.put(parts.link)
            for part in (parts.weights, parts.task):
                found[part.name, part.tag] = _Shipment(part.image, destination(registry, part.name), part.tag, image)
    return list(found.values())


def destination(registry: str, name: str) -> Reference:
    """Where the image `name`, such as `quickstart/router`, goes in `registry`. Raises UserError (exit 2).

    Docker Hub knows only `ACCOUNT/NAME`, so there the folders of a name become a part of it.
    """
    place = registry.rstrip("/")
    host, _, folder = place.partition("/")
    if host in (DOCKER_HUB, "index.docker.io"):
        account, *folders = folder.split("/")
        place, name = f"{DOCKER_HUB}/{account}", "-".join((*folders, *name.split("/")))
        if not account:
            raise _no_registry(registry, f"write {DOCKER_HUB}/ACCOUNT")
    try:
        target = Reference.parse(f"{place}/{name}")
    except UserError:
        target = None
    if target is None or target.name != f"{place}/{name}":
        raise _no_registry(registry, "write HOST[:PORT][/FOLDER], such as registry.example.com/me or localhost:5000")
    return target


def _no_registry(registry: str, hint: str) -> UserError:
    return UserError(f"`{registry}` is no registry that images are pushed to", hint=hint, exit_code=ExitCode.USAGE)


def built_images(loaded: "Loaded", store: BlobStore, services: Sequence[str], tag: str) -> list[Image]:
    """What `build` has made of these services, and what the file still makes of them. Raises UserError (exit 3)."""
    images = [_built(loaded, store, service, tag) for service in services]
    for service, image in zip(services, images, strict=True):
        _check_current(loaded, service, image, tag)
    return images


def _built(loaded: "Loaded", store: BlobStore, service: str, tag: str) -> Image:
    reference = f"{repository(loaded, service)}:{tag}"
    image = store.image(stored_name(loaded.directory, reference))
    if image is None:
        raise _to_build(f"there is no image {reference}", "make it", service, tag)
    return image


def _check_current(loaded: "Loaded", service: str, image: Image, tag: str) -> None:
    if not is_current(loaded, service, image):
        reference = f"{repository(loaded, service)}:{tag}"
        raise _to_build(f"the file has changed since {reference} was built", "make it again", service, tag)


def _to_build(message: str, remedy: str, service: str, tag: str) -> UserError:
    option = "" if tag == "latest" else f" --tag {tag}"
    hint = f"{remedy} with `model-compose build{option} {service}`"
    return UserError(message, hint=hint, exit_code=ExitCode.FILE)


def _table(targets: list[Reference], pushed: list[Pushed]) -> str:
    header = ("IMAGE", "TAG", "SENT", "MOUNTED", "ALREADY THERE", "DIGEST")
    rows = [
        (target.name, each.tag, *map(_amount, (each.sent_bytes, each.mounted_bytes, each.present_bytes)), each.digest)
        for target, each in zip(targets, pushed, strict=True)
    ]
    return columns([header, *rows])


def _amount(size_bytes: int) -> str:
    return size(size_bytes or None)
