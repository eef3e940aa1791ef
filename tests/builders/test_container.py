"""An image says of itself what tools ask for, and nothing that differs from machine to machine."""

import pytest

from builders.container import image_labels
from builders.images.layout import BaseImage, ImageConfig

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("python:3.11-slim", {"org.opencontainers.image.base.name": "python:3.11-slim"}),
        ("tar:/somewhere/base.tar", {}),
        ("docker-daemon:base", {}),
    ],
)
def test_only_a_base_that_has_one_name_everywhere_is_named(reference: str, named: dict[str, str]) -> None:
    base = BaseImage(reference, "sha256:1", ImageConfig(), ())
    labels = image_labels("router", base, kind="router", settings="", tool="1.0", created="2023-11-14T22:13:20Z")
    assert {name: value for name, value in labels.items() if not name.startswith("model-compose.")} == {
        "org.opencontainers.image.title": "router",
        "org.opencontainers.image.version": "1.0",
        "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
        "org.opencontainers.image.base.digest": "sha256:1",
        **named,
    }
