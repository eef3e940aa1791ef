"""`export kubernetes`: the services of a file as a Kustomize tree, for a cluster that has the images of `build`."""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from builders.images.layout import Image
from builders.images.reference import Reference
from builders.images.store import BlobStore
from builders.lock import LOCK_FILE, Lock
from builders.splitting import MOUNT
from compose.commands.folder_export import write_folder
from compose.commands.push import built_images, destination
from compose.containers import limits_of
from compose.images import repository, services_of
from compose.loader import InvalidFile
from compose.output import Console
from compose.parts import parts_of
from compose.reading.nodes import mark_at
from compose.reading.problems import Problem
from compose.state import Selection
from compose.workloads import Cluster, ClusterImage, Target, export_of
from infra.docker.container import project_name
from infra.errors import ExitCode, UserError
from infra.kubernetes.tree import broken, exceptions, tree
from infra.kubernetes.workload import Export, ImageVolume
from infra.policy.rules import Finding

if TYPE_CHECKING:
    from compose.loader import Loaded

_DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_KEY: Final = re.compile(
    r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII
)
_NOT_OURS: Final = re.compile(r"default|kube-.*")
"""Namespaces that no application should have for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How `export kubernetes` was asked for; None where the file or the project decides."""

    output: Path
    registry: str | None = None
    namespace: str | None = None
    target: Target | None = None
    replicas: int | None = None
    gpu_label: str | None = None
    tag: str = "latest"
    page: bool = True


def export_kubernetes(selection: Selection, wishes: Wishes, console: Console) -> None:
    """Write the tree. Raises UserError."""
    loaded = selection.load(console, for_cluster=True)
    _check_namespace(namespace := wishes.namespace or project_name(loaded.directory), wishes)
    _check_label(wishes.gpu_label)
    services = [service for service in services_of(loaded) if wishes.page or service != "page"]
    located = _located(loaded, services, wishes)
    export = _export(loaded, {service: each.image for service, each in located.items()}, wishes, namespace)
    _check_rules(loaded, export)
    write_folder(wishes.output, tree(export))
    for each in exceptions(export):
        console.say(f"{each.kind} `{each.name}` is an exception to the rule `{each.rule}`: {each.reason}")
    if wishes.registry is None:
        console.warn(
            "without --registry, `overlays/prod` names images that no cluster can fetch; `overlays/local` can be used"
        )
    elif elsewhere := [service for service, each in located.items() if not each.was_pushed]:
        console.warn(_not_pushed(elsewhere, wishes))
    overlay = wishes.output / "overlays" / ("prod" if wishes.registry else "local")
    console.result(f"wrote {wishes.output}; next: kubectl apply -k {shlex.quote(str(overlay))}")


@dataclass(frozen=True, slots=True)
class _Located:
    """was_pushed: by this user to the registry of the export, so that its digest there is known."""

    image: ClusterImage
    was_pushed: bool


def _located(loaded: "Loaded", services: Sequence[str], wishes: Wishes) -> dict[str, _Located]:
    """Where the cluster finds each image. Raises UserError (exit 3) for one that is not built, or of another file."""
    store = BlobStore.of(os.environ)
    built = built_images(loaded, store, services, wishes.tag)
    return {
        service: _located_image(store, loaded, service, image, wishes)
        for service, image in zip(services, built, strict=True)
    }


def _located_image(store: BlobStore, loaded: "Loaded", service: str, image: Image, wishes: Wishes) -> _Located:
    built = repository(loaded, service)
    place = _place(built, wishes.tag, wishes)
    architecture: str = json.loads(image.config)["architecture"]
    volume = _volume(store, loaded, service, image, wishes)
    pushed = _pushed(store, place, image)
    reference = replace(place, digest=pushed or image.digest).familiar
    return _Located(ClusterImage(reference, architecture, volume, built), pushed is not None)


def _volume(store: BlobStore, loaded: "Loaded", service: str, image: Image, wishes: Wishes) -> ImageVolume | None:
    parts = parts_of(loaded, service, image, wishes.tag)
    if parts is None:
        return None
    places = [(_place(part.name, part.tag, wishes), part.image.digest) for part in (parts.task, parts.weights)]
    task, weights = (replace(place, digest=_pushed(store, place, image) or digest).familiar for place, digest in places)
    return ImageVolume(task, weights, MOUNT)


def _pushed(store: BlobStore, place: Reference, built: Image) -> str | None:
    """The digest that the registry has there of the built image or a part of it; another one where layers were
    compressed. None: nothing was pushed there from here."""
    return store.pushed(f"{place.name}:{place.tag}", built.digest)


def _place(name: str, tag: str, wishes: Wishes) -> Reference:
    place = destination(wishes.registry, name) if wishes.registry is not None else Reference.parse(name)
    return replace(place, tag=tag)


def _not_pushed(services: Sequence[str], wishes: Wishes) -> str:
    place = wishes.registry if wishes.tag == "latest" else f"{wishes.registry} --tag {wishes.tag}"
    return (
        f"{', '.join(services)}: not pushed to {wishes.registry} from here, so named by the digests that were built; "
        f"`model-compose push {place}` brings them there (with --compression, export again afterwards)"
    )


def _export(loaded: "Loaded", images: Mapping[str, ClusterImage], wishes: Wishes, namespace: str) -> Export:
    """What a cluster is told of the file and its images. Raises UserError."""
    cluster = Cluster(
        name=project_name(loaded.directory),
        namespace=namespace,
        target=wishes.target or ("nvidia" if _wants_gpu(loaded) else "cpu"),
        replicas=wishes.replicas,
        gpu_label=wishes.gpu_label,
    )
    return export_of(loaded, Lock.read(loaded.directory / LOCK_FILE), images, cluster)


def _check_rules(loaded: "Loaded", export: Export) -> None:
    """Raises InvalidFile for everything that a cluster should not be given, each with the place of its service."""
    services = {workload.name: workload.service for workload in export.workloads}
    if problems := [_problem(loaded, found, services.get(found.application or "")) for found in broken(export)]:
        raise InvalidFile(problems, {})


def _problem(loaded: "Loaded", found: Finding, service: str | None) -> Problem:
    """At its component, or at the controller."""
    places = {each.name: ("components", index) for index, each in enumerate(loaded.spec.components)}
    what = f"{found.kind} of `{service}`" if service else f"{found.kind} `{found.name}`"
    message = f"the {what} would break the rule `{found.rule}` for clusters: {found.problem}"
    return Problem(mark_at(loaded.root, places.get(service or "", ("controller",))), message, found.remedy)


def _wants_gpu(loaded: "Loaded") -> bool:
    return any(limits_of(component).gpu_count for component in loaded.spec.models)


def _check_namespace(namespace: str, wishes: Wishes) -> None:
    if not _DNS_LABEL.fullmatch(namespace):
        raise UserError(
            f"`{namespace}` is no name of a namespace",
            hint="use a-z, 0-9 and `-`, at most 63 characters",
            exit_code=ExitCode.USAGE,
        )
    if _NOT_OURS.fullmatch(namespace):
        raise UserError(
            f"the namespace `{namespace}` is the cluster's own, and the export is strict with all pods of its own",
            hint="give another one with `--namespace`"
            + ("" if wishes.namespace else ", which is otherwise the name of the file's folder"),
            exit_code=ExitCode.USAGE,
        )


def _check_label(key: str | None) -> None:
    if key is not None and not _LABEL_KEY.fullmatch(key):
        raise UserError(
            f"`{key}` is no key of a label",
            hint="`kubectl get nodes --show-labels` shows those of the cluster, such as `nvidia.com/gpu.product`",
            exit_code=ExitCode.USAGE,
        )
