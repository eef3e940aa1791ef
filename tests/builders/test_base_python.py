"""Packages are made for the Python that the base image really has."""

from functools import partial
from pathlib import Path

import pytest

from builders.base_python import python_of
from builders.images.layout import BaseImage, ImageConfig
from builders.images.store import BlobStore
from builders.images.tar import Entry, File, Link
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit


def base_of(store: BlobStore, *trees: dict[str, Entry], **env: str) -> BaseImage:
    layers = [store.layer(str(number), partial(dict, tree), purpose="base")[0] for number, tree in enumerate(trees)]
    return BaseImage("some:base", "sha256:" + "0" * 64, ImageConfig(env=env), tuple(layers))


DEBIAN: dict[str, Entry] = {"usr/bin/python3": Link("python3.11"), "usr/bin/python3.11": File(b"", executable=True)}


def test_it_is_where_python3_leads(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert python_of(base_of(store, DEBIAN, {"etc/motd": File(b"hello")}), store) == "3.11"


def test_one_in_usr_local_comes_first(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert python_of(base_of(store, {**DEBIAN, "usr/local/bin/python3": Link("python3.12")}), store) == "3.12"


def test_official_images_say_it_themselves(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert python_of(base_of(store, {}, PYTHON_VERSION="3.13.2"), store) == "3.13"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "the base image some:base has no python3"),
        ({"usr/bin/python3": Link("python3.9")}, "the base image some:base has Python 3.9, which is too old"),
    ],
)
def test_a_base_without_a_fitting_python_is_refused(tmp_path: Path, tree: dict[str, Entry], message: str) -> None:
    store = BlobStore(tmp_path)
    with pytest.raises(UserError) as caught:
        python_of(base_of(store, tree), store)
    assert (caught.value.message, caught.value.exit_code) == (message, ExitCode.ENVIRONMENT)
