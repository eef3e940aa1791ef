"""`export kubernetes`: the services of a file as a Kustomize tree, for a cluster that has the images of `build`."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from builders.images.layout import Image
from builders.images.reference import Reference
from builders.images.store import BlobStore
from builders.lock import LOCK_FILE, Lock
from compose.commands.folder_export import write_folder
from compose.commands.push import built_images, destination
from compose.containers import limits_of
from compose.images import repository, services_of
from compose.output import Console
from compose.state import Selection
from compose.workloads import Cluster, ClusterImage, Target, export_of
from infra.docker.container import project_name
from infra.errors import ExitCode, UserError
from infra.kubernetes.tree import broken, exceptions, tree
from infra.kubernetes.workload import Export

if TYPE_CHECKING:
    from compose.loader import Loaded

_DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
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
    tag: str = "latest"
    page: bool = True


def export_kubernetes(selection: Selection, wishes: Wishes, console: Console) -> None:
    """Write the tree. Raises UserError."""
    loaded = selection.load(console)
    namespace = wishes.namespace or project_name(loaded.directory)
    _check_namespace(namespace)
    export = kubernetes_export(loaded, wishes, namespace)
    _check_rules(export)
    write_folder(wishes.output, tree(export))
    for each in exceptions(export):
        console.say(f"{each.kind} `{each.name}` is an exception to the rule `{each.rule}`: {each.reason}")
    if wishes.registry is None:
        console.warn(
            "without --registry, `overlays/prod` names images that no cluster can fetch; `overlays/local` can be used"
        )
    overlay = wishes.output / "overlays" / ("prod" if wishes.registry else "local")
    console.result(f"wrote {wishes.output}; next: kubectl apply -k {overlay}")


def kubernetes_export(loaded: "Loaded", wishes: Wishes, namespace: str) -> Export:
    """What a cluster is told of the file and its images. Raises UserError."""
    services = [service for service in services_of(loaded) if wishes.page or service != "page"]
    built = built_images(loaded, BlobStore.of(os.environ), services, wishes.tag)
    images = {
        service: ClusterImage(_reference(loaded, service, image, wishes), _architecture(image))
        for service, image in zip(services, built, strict=True)
    }
    cluster = Cluster(
        name=project_name(loaded.directory),
        namespace=namespace,
        target=wishes.target or ("nvidia" if _wants_gpu(loaded) else "cpu"),
        replicas=wishes.replicas,
    )
    return export_of(loaded, Lock.read(loaded.directory / LOCK_FILE), images, cluster)


def _check_rules(export: Export) -> None:
    """Raises UserError (exit 3) for the first thing that a cluster should not be given."""
    for found in broken(export):
        raise UserError(
            f"{found.kind} `{found.name}` would break the rule `{found.rule}` for clusters: {found.problem}",
            hint=found.remedy,
            exit_code=ExitCode.FILE,
        )


def _reference(loaded: "Loaded", service: str, image: Image, wishes: Wishes) -> str:
    """Where the cluster finds an image, and its digest, which is the same wherever it was pushed as it was built."""
    name = repository(loaded, service)
    place = destination(wishes.registry, name) if wishes.registry else Reference.parse(name)
    return f"{Reference(place.registry, place.repository, wishes.tag, image.digest).familiar}"


def _architecture(image: Image) -> str:
    architecture: str = json.loads(image.config)["architecture"]
    return architecture


def _wants_gpu(loaded: "Loaded") -> bool:
    return any(limits_of(component).gpu_count for component in loaded.spec.models)


def _check_namespace(namespace: str) -> None:
    if not _DNS_LABEL.fullmatch(namespace):
        raise UserError(
            f"{namespace!r} is no name of a namespace",
            hint="use a-z, 0-9 and `-`, at most 63 characters",
            exit_code=ExitCode.USAGE,
        )
    if _NOT_OURS.fullmatch(namespace):
        raise UserError(
            f"the namespace `{namespace}` is the cluster's own, and the export is strict with all pods of its own",
            hint="give another one with `--namespace`",
            exit_code=ExitCode.USAGE,
        )
