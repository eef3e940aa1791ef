"""How a container of each kind of image starts, and what its labels say of it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from builders.code import ImageKind
from builders.images.base import is_remote
from builders.images.layout import BaseImage, Image, ImageConfig, Platform, digest_of
from services.process import EVERYWHERE

ROOT: Final = "/opt/model-compose"
PACKAGES: Final = f"{ROOT}/packages"
BENTO: Final = f"{ROOT}/bento"
CODE: Mapping[ImageKind, str] = {"task": f"{BENTO}/src", "router": f"{ROOT}/code", "page": f"{ROOT}/code"}
"""Where our own packages lie."""
SETTINGS: Mapping[ImageKind, str] = {kind: f"{ROOT}/{kind}.json" for kind in CODE}
BILL: Final = f"{ROOT}/sbom.cdx.json"
"""The bill of materials, under a name by which scanners of images know it."""
PORTS: Mapping[ImageKind, int] = {"task": 3000, "router": 8080, "page": 8081}
MODULES: Mapping[ImageKind, str] = {"task": "services.entry", "router": "services.router.app", "page": "ui.app"}
STATE: Final = "/var/lib/model-compose"
"""Where a router keeps its runs: the one place of a container that outlives it."""
USER: Final = "10001:10001"
_OCI: Final = "org.opencontainers.image"
TITLE: Final = f"{_OCI}.title"
_LABEL: Final = "model-compose"
"""What our own labels begin with."""
OWN_LABELS: Final = frozenset(f"{_LABEL}.{name}" for name in ("kind", "settings", "version"))
"""Those that every image of ours has."""

_EVERYWHERE: Final = {
    "HOME": "/tmp",  # noqa: S108 - the one place that a read-only container may write to
    "USER": "model",  # nobody is called 10001, and Python asks
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_OF_A_KIND: Final[Mapping[ImageKind, Mapping[str, str]]] = {
    "task": {
        "BENTOML_HOME": "/tmp/bentoml",  # noqa: S108 - as above
        "BENTOML_DO_NOT_TRACK": "True",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "TRANSFORMERS_OFFLINE": "1",
    },
    "router": {},
    "page": {"GRADIO_ANALYTICS_ENABLED": "False"},
}

VARIABLES: Final = frozenset({"PATH", "PYTHONPATH", *_EVERYWHERE}.union(*_OF_A_KIND.values()))
"""Those of an image that it does not work without; whoever starts a container leaves them alone."""


def image_config(
    kind: ImageKind, base: BaseImage, platform: Platform, labels: Mapping[str, str], created: str | None = None
) -> ImageConfig:
    """The config of an image on this base. Nothing of the base is kept but its variables."""
    env = {**base.config.env, **_EVERYWHERE, **_OF_A_KIND[kind], "PYTHONPATH": f"{CODE[kind]}:{PACKAGES}"}
    start = ("python3", "-P", "-m", MODULES[kind], SETTINGS[kind], "--host", EVERYWHERE, "--port", str(PORTS[kind]))
    return replace(
        ImageConfig(platform=platform),
        env=env,
        labels=labels,
        entrypoint=start,
        user=USER,
        working_dir=ROOT,
        stop_signal="SIGTERM",
        ports=(PORTS[kind],),
        created=created,
    )


def image_labels(
    name: str,
    base: BaseImage,
    *,
    kind: ImageKind,
    settings: str,
    tool: str,
    task: Mapping[str, str] | None = None,
    created: str | None = None,
) -> dict[str, str]:
    """What an image says of itself; nothing that depends on where or when it was built.

    settings: the text that it reads at start. tool: our version. task: more of our own labels, those of a task.
    created: as in `image_config`.
    """
    own = {"kind": kind, "settings": digest_of(settings.encode()), "version": tool, **(task or {})}
    return {
        TITLE: name,
        f"{_OCI}.version": tool,
        f"{_OCI}.base.digest": base.digest,
        # One base of this machine has as many names as there are places for it.
        **({f"{_OCI}.base.name": base.reference} if is_remote(base.reference) else {}),
        **({f"{_OCI}.created": created} if created else {}),
        **{f"{_LABEL}.{key}": value for key, value in own.items()},
    }


def weights_labels(digest: str) -> dict[str, str]:
    """What an image of weights alone says of itself: nothing that only one task would say. digest: of their set."""
    return {TITLE: "weights", f"{_LABEL}.kind": "weights", f"{_LABEL}.weights": digest}


def own_labels(image: Image) -> dict[str, str]:
    """Our own labels of an image, without what they begin with; none of an image that is none of ours."""
    labels = json.loads(image.config)["config"].get("Labels") or {}
    return {key.removeprefix(f"{_LABEL}."): value for key, value in labels.items() if key.startswith(f"{_LABEL}.")}
