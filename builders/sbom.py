"""Writes what is inside an image as a CycloneDX bill of materials, for the tools that look for known weaknesses."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from builders.images.layout import exact_json
from builders.lock import LockedModel
from builders.packages.resolving import Resolution

if TYPE_CHECKING:
    from cyclonedx.model.component import Component


@dataclass(frozen=True, slots=True)
class Contents:
    """What an image is made of.

    name and version: of the image, such as `quickstart/task-chat` and a tag. tool: our version. base: its reference and
    digest. models: by name, as in the lock.
    """

    name: str
    version: str
    tool: str
    base: tuple[str, str]
    packages: Resolution
    models: Mapping[str, LockedModel]


def bill_of_materials(contents: Contents, seconds: int = 0) -> bytes:
    """CycloneDX 1.6 as JSON; equal contents give equal bytes. seconds: since 1970, when it was made, as it says."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    reference, digest = contents.base
    image = Component(name=contents.name, version=contents.version, type=ComponentType.CONTAINER, bom_ref="image")
    ours = Component(
        name="model-compose", version=contents.tool, type=ComponentType.APPLICATION, bom_ref="model-compose"
    )
    base = Component(name=reference, version=digest, type=ComponentType.CONTAINER, bom_ref="base")
    models = [_model(name, model) for name, model in sorted(contents.models.items())]
    parts = [ours, base, *_libraries(contents.packages), *models]
    bom = Bom(
        components=parts,
        metadata=BomMetaData(component=image, timestamp=datetime.fromtimestamp(seconds, UTC)),
        serial_number=uuid5(NAMESPACE_URL, _identity(contents)),
    )
    bom.register_dependency(image, parts)
    return JsonV1Dot6(bom).output_as_string(indent=1).encode()


def _identity(contents: Contents) -> str:
    """Equal for equal contents alone."""
    models = {name: [model.revision, dict(model.files)] for name, model in contents.models.items()}
    image = [contents.name, contents.version, contents.tool, contents.base]
    return exact_json([*image, contents.packages.digest, models]).decode()


def _libraries(packages: Resolution) -> "list[Component]":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    libraries = []
    for package in packages.packages:
        url = PackageURL("pypi", None, package.name, package.version)
        # Of several wheels that fit, nobody knows here which one was taken.
        hashes = package.hashes if len(package.hashes) == 1 else ()
        libraries.append(
            Component(
                name=package.name,
                version=package.version,
                type=ComponentType.LIBRARY,
                purl=url,
                bom_ref=url.to_string(),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=value) for value in hashes],
            )
        )
    return libraries


def _model(name: str, model: LockedModel) -> "Component":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    namespace, _, short = name.rpartition("/")
    return Component(
        name=name,
        version=model.revision,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        purl=PackageURL("huggingface", namespace or None, short, model.revision) if model.revision else None,
        bom_ref=f"model {name}",
        components=[
            Component(
                name=path,
                type=ComponentType.FILE,
                bom_ref=f"model {name} {path}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            )
            for path, digest in sorted(model.files.items())
        ],
    )
