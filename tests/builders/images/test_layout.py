"""Images are the bytes that the specification asks for, and equal images are equal bytes."""

import json
from dataclasses import replace

import pytest

from builders.images.layout import (
    BaseImage,
    Image,
    ImageConfig,
    Layer,
    MediaType,
    Platform,
    digest_of,
    layer_media_type,
)
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit

BASE = Layer("sha256:" + "a" * 64, "sha256:" + "b" * 64, 100, MediaType.LAYER_GZIP, "base")
TOP = Layer("sha256:" + "c" * 64, "sha256:" + "c" * 64, 20, MediaType.LAYER, "the task's settings")
CONFIG = ImageConfig(
    env={"PATH": "/bin", "HOME": "/tmp"},
    labels={"task": "chat"},
    entrypoint=("python3", "-m", "services.entry"),
    command=("--port", "3000"),
    user="10001:10001",
    working_dir="/tmp",
    stop_signal="SIGTERM",
    ports=(3000,),
)


def test_an_image_is_a_config_and_a_manifest_that_points_to_it() -> None:
    image = Image.of(CONFIG, [BASE, TOP])
    assert json.loads(image.config) == {
        "os": "linux",
        "architecture": "amd64",
        "config": {
            "User": "10001:10001",
            "ExposedPorts": {"3000/tcp": {}},
            "Env": ["HOME=/tmp", "PATH=/bin"],
            "Entrypoint": ["python3", "-m", "services.entry"],
            "Cmd": ["--port", "3000"],
            "WorkingDir": "/tmp",
            "Labels": {"task": "chat"},
            "StopSignal": "SIGTERM",
        },
        "rootfs": {"type": "layers", "diff_ids": [BASE.diff_id, TOP.diff_id]},
        "history": [{"created_by": "base"}, {"created_by": "the task's settings"}],
    }
    assert json.loads(image.manifest) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest_of(image.config),
            "size": len(image.config),
        },
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": BASE.digest, "size": 100},
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": TOP.digest, "size": 20},
        ],
    }
    assert image.digest == digest_of(image.manifest)
    assert image.size == len(image.manifest) + len(image.config) + 120


def test_layers_that_are_stored_in_another_way_leave_the_config_as_it_is() -> None:
    image = Image.of(CONFIG, [BASE, TOP])
    packed = replace(TOP, digest="sha256:" + "e" * 64, size=10, media_type=MediaType.LAYER_GZIP)
    assert image.with_layers([BASE, packed]) == Image.of(CONFIG, [BASE, packed])
    assert image.with_layers([BASE, packed]).config == image.config


def test_the_order_in_which_settings_were_named_changes_nothing() -> None:
    other = replace(CONFIG, env={"HOME": "/tmp", "PATH": "/bin"})
    assert Image.of(other, [BASE, TOP]) == Image.of(CONFIG, [BASE, TOP])


def test_the_only_time_in_an_image_is_the_one_that_it_is_given() -> None:
    config = json.loads(Image.of(replace(CONFIG, created="2001-02-03T04:05:06Z"), [TOP]).config)
    assert config["created"] == "2001-02-03T04:05:06Z"
    assert config["history"] == [{"created": "2001-02-03T04:05:06Z", "created_by": "the task's settings"}]


def test_of_a_base_only_what_starts_containers_is_taken_over() -> None:
    config = CONFIG.to_json([BASE]) | {"created": "2001-02-03T04:05:06Z", "author": "somebody"}
    assert ImageConfig.from_json(config) == replace(CONFIG, labels={}, ports=())


def test_a_config_of_docker_may_have_nothing_where_we_have_empty_lists() -> None:
    config = {"architecture": "arm64", "os": "linux", "config": {"Env": None, "Entrypoint": None, "Labels": None}}
    assert ImageConfig.from_json(config) == ImageConfig(Platform("linux", "arm64"))
    assert ImageConfig.from_json({"architecture": "arm64", "config": None}).platform == Platform("linux", "arm64")


def test_a_base_image_is_written_down_and_read_again() -> None:
    base = BaseImage("python:3.11-slim", "sha256:" + "d" * 64, replace(CONFIG, labels={}, ports=()), (BASE,))
    assert BaseImage.from_json(json.loads(json.dumps(base.to_json()))) == base


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm64", Platform("linux", "arm64")),
        ("linux/arm64/v8", Platform("linux", "arm64", "v8")),
    ],
)
def test_a_platform_is_read_and_written(text: str, platform: Platform) -> None:
    assert Platform.parse(text) == platform
    assert str(platform) == text
    assert Platform.from_json(platform.to_json()) == platform


@pytest.mark.parametrize("text", ["", "linux", "windows/amd64", "linux/sparc", "linux/arm64/../v8", "linux/amd64/v1/x"])
def test_another_platform_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a platform") as caught:
        Platform.parse(text)
    assert caught.value.exit_code is ExitCode.USAGE


def test_an_image_without_a_variant_serves_every_variant() -> None:
    plain, v8, v7 = (Platform("linux", "arm64", variant) for variant in (None, "v8", "v7"))
    assert [one.serves(v8) for one in (plain, v8, v7)] == [True, True, False]
    assert [one.serves(plain) for one in (plain, v8, v7)] == [True, True, True]
    assert not Platform("linux", "amd64").serves(plain)


def test_the_platform_of_a_machine_has_the_name_of_the_specification() -> None:
    assert [str(Platform.of_machine(name)) for name in ("x86_64", "aarch64", "arm64")] == [
        "linux/amd64",
        "linux/arm64",
        "linux/arm64",
    ]


def test_layers_have_the_same_media_type_under_dockers_names() -> None:
    assert layer_media_type("application/vnd.docker.image.rootfs.diff.tar.gzip") == MediaType.LAYER_GZIP
    assert layer_media_type("application/vnd.oci.image.layer.v1.tar+zstd") == MediaType.LAYER_ZSTD
    assert layer_media_type(MediaType.MANIFEST) is None
    assert layer_media_type("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip") is None
