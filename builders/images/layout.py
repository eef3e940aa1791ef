"""What an image is by the OCI image specification: descriptors, layers, and the exact bytes of config and manifest."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from infra.errors import ExitCode, UserError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class MediaType(StrEnum):
    """The kinds of blobs that we write; those of others may go by other names, see `layer_media_type`."""

    INDEX = "application/vnd.oci.image.index.v1+json"
    MANIFEST = "application/vnd.oci.image.manifest.v1+json"
    CONFIG = "application/vnd.oci.image.config.v1+json"
    LAYER = "application/vnd.oci.image.layer.v1.tar"
    LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
    LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


_DOCKER_MEDIA_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar": MediaType.LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": MediaType.LAYER_GZIP,
}


def layer_media_type(text: str) -> MediaType | None:
    """The media type of a layer as we write it, Docker's older names included; None for no layer that we can take."""
    known = _DOCKER_MEDIA_TYPES.get(text) or next((kind for kind in MediaType if kind == text), None)
    return known if known in (MediaType.LAYER, MediaType.LAYER_GZIP, MediaType.LAYER_ZSTD) else None


def digest_of(content: bytes) -> str:
    """The name of a blob: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(text: object) -> bool:
    """Whether `text` is the name of a blob, and so no path that leads elsewhere."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def exact_json(value: object) -> bytes:
    """The one spelling of `value` whose digest counts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Platform:
    """Which machines an image is for, in the words of the specification: `linux`, `amd64`, and seldom a variant."""

    os: str = "linux"
    architecture: str = "amd64"
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `linux/amd64` or `linux/arm64/v8`; raises UserError (exit 2)."""
        match text.split("/"):
            case ["linux", ("amd64" | "arm64") as architecture]:
                return cls("linux", architecture)
            case ["linux", ("amd64" | "arm64") as architecture, variant] if variant.isalnum():
                return cls("linux", architecture, variant)
        raise UserError(
            f"{text!r} is not a platform that images are built for",
            hint="write linux/amd64 or linux/arm64",
            exit_code=ExitCode.USAGE,
        )

    @classmethod
    def of_machine(cls, machine: str) -> Self:
        """The platform of containers on a machine of that kind, as `platform.machine()` names it."""
        return cls("linux", _ARCHITECTURES.get(machine, machine))

    def serves(self, other: "Platform") -> bool:
        """Whether an image for this platform is one for `other`."""
        same = (self.os, self.architecture) == (other.os, other.architecture)
        return same and (other.variant is None or self.variant in (None, other.variant))

    def to_json(self) -> dict[str, str]:
        """As it stands in configs and in the entries of an index."""
        names = {"os": self.os, "architecture": self.architecture, "variant": self.variant}
        return {name: value for name, value in names.items() if value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(value.get("os") or "linux", value.get("architecture") or "", value.get("variant") or None)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What points to a blob. size: of the blob, in bytes."""

    media_type: str
    digest: str
    size: int

    def to_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    @classmethod
    def of(cls, media_type: str, content: bytes) -> Self:
        return cls(media_type, digest_of(content), len(content))


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer.

    digest and size: of the blob as it is stored. diff_id: the digest of the tar within, the same unless compressed.
    purpose: what `docker history` says it is for.
    """

    digest: str
    diff_id: str
    size: int
    media_type: str
    purpose: str

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, self.size)

    def to_json(self) -> dict[str, Any]:
        return {**self.descriptor.to_json(), "diffId": self.diff_id, "purpose": self.purpose}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError."""
        return cls(value["digest"], value["diffId"], value["size"], value["mediaType"], value["purpose"])


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How containers of an image are started, without its layers. created: a time of RFC 3339; None leaves it out."""

    platform: Platform = field(default_factory=Platform)
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    ports: Sequence[int] = ()
    created: str | None = None

    def to_json(self, layers: Sequence[Layer]) -> dict[str, Any]:
        """The config of an image of these layers. It holds no time but `created`, in the history neither."""
        settings = {
            "User": self.user,
            "ExposedPorts": {f"{port}/tcp": {} for port in sorted(self.ports)},
            "Env": [f"{name}={value}" for name, value in sorted(self.env.items())],
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command),
            "WorkingDir": self.working_dir,
            "Labels": dict(self.labels),
            "StopSignal": self.stop_signal,
        }
        created = {"created": self.created} if self.created else {}
        return {
            **created,
            **self.platform.to_json(),
            "config": {name: value for name, value in settings.items() if value},
            **_made_of(layers, created),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What of a config an image that is built on it takes over: not its labels, its ports or its time."""
        settings = value.get("config") or {}
        return cls(
            platform=Platform.from_json(value),
            env=dict(entry.partition("=")[::2] for entry in settings.get("Env") or ()),
            entrypoint=tuple(settings.get("Entrypoint") or ()),
            command=tuple(settings.get("Cmd") or ()),
            user=settings.get("User") or "",
            working_dir=settings.get("WorkingDir") or "",
            stop_signal=settings.get("StopSignal") or "",
        )


def _made_of(layers: Sequence[Layer], created: Mapping[str, str]) -> dict[str, Any]:
    """What a config says of its layers."""
    return {
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{**created, "created_by": layer.purpose} for layer in layers],
    }


@dataclass(frozen=True, slots=True)
class Image:
    """A whole image: the exact bytes of manifest and config, and what their layers are."""

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, config: ImageConfig, layers: Sequence[Layer]) -> Self:
        """Put an image together; equal arguments give equal bytes."""
        return cls._of_json(config.to_json(layers), layers)

    @classmethod
    def _of_json(cls, config: Mapping[str, Any], layers: Sequence[Layer]) -> Self:
        config_bytes = exact_json(config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MediaType.MANIFEST,
            "config": Descriptor.of(MediaType.CONFIG, config_bytes).to_json(),
            "layers": [layer.descriptor.to_json() for layer in layers],
        }
        return cls(exact_json(manifest), config_bytes, tuple(layers))

    def of_layers(self, layers: Sequence[Layer]) -> Self:
        """An image of other layers that starts as this one does, and says the same of itself."""
        config = json.loads(self.config)
        created = {key: config[key] for key in ("created",) if key in config}
        return self._of_json({**config, **_made_of(layers, created)}, layers)

    def with_layers(self, layers: Sequence[Layer]) -> Self:
        """The same image with the same layers stored in another way, such as compressed; its config stays."""
        manifest = {**json.loads(self.manifest), "layers": [layer.descriptor.to_json() for layer in layers]}
        return replace(self, manifest=exact_json(manifest), layers=tuple(layers))

    @property
    def descriptor(self) -> Descriptor:
        """Points to the manifest; its digest is what the image is pinned by."""
        return Descriptor.of(MediaType.MANIFEST, self.manifest)

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def config_descriptor(self) -> Descriptor:
        """Points to the config; its digest is what an engine calls the image's id."""
        return Descriptor.of(MediaType.CONFIG, self.config)

    @property
    def size(self) -> int:
        """Of all blobs together, in bytes."""
        return len(self.manifest) + len(self.config) + sum(layer.size for layer in set(self.layers))


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What an image is built on.

    reference: as the user wrote it. digest: what pins it: of the manifest; for an engine's image its id, for a root
    tar the digest of the tar. Its layers lie in the store.
    """

    reference: str
    digest: str
    config: ImageConfig
    layers: tuple[Layer, ...]

    def to_json(self) -> dict[str, Any]:
        layers = [layer.to_json() for layer in self.layers]
        config = self.config.to_json(self.layers)
        return {"reference": self.reference, "digest": self.digest, "config": config, "layers": layers}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        layers = tuple(Layer.from_json(layer) for layer in value["layers"])
        return cls(value["reference"], value["digest"], ImageConfig.from_json(value["config"]), layers)
