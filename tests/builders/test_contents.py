"""A layer is made again when anything changes that decides what is in it."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from builders import contents
from builders.bento import BentoInputs
from builders.code import code_for
from builders.contents import Content, bill_layer, code_layer, settings_layer, task_layer
from builders.gathering import Ingredients
from builders.images.layout import BaseImage, ImageConfig, Platform
from builders.packages.resolving import Resolution
from builders.packages.wanted import Wanted
from services.settings import TaskSettings

pytestmark = pytest.mark.unit


def code() -> Content:
    return code_layer("task", code_for("task"))


def bill() -> Content:
    base = BaseImage("some:base", "sha256:" + "0" * 64, ImageConfig(), ())
    return bill_layer("chat", Ingredients(base, Wanted("task", "3.11", Platform()), Resolution("1", ())), 0)


def task() -> Content:
    settings = TaskSettings.model_validate(
        {"id": "chat", "task": "chat-completion", "model": "tiny/one", "model_path": "/m"}
    )
    return task_layer(BentoInputs(settings, code_for("task"), (), "3.11"))


def settings() -> Content:
    return settings_layer("router", "{}")


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (code, "SERVICE", "another service"),
        (code, "CODE", {"task": "/elsewhere"}),
        (bill, "version", lambda _: "another version of the library"),
        (bill, "version", lambda name: "another version" if name == "packageurl-python" else version(name)),
        (bill, "_BILL_RULES", [Path(__file__)]),
        (bill, "BILL", "/elsewhere"),
        (task, "version", lambda _: "another version of BentoML"),
        (task, "_BENTO_RULES", [Path(__file__)]),
        (task, "BENTO", "/elsewhere"),
        (task, "SETTINGS", {"task": "/elsewhere"}),
        (settings, "SETTINGS", {"router": "/elsewhere"}),
    ],
)
def test_what_decides_its_content_is_part_of_its_recipe(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], Content], name: str, value: object
) -> None:
    before = make().recipe
    assert make().recipe == before
    monkeypatch.setattr(contents, name, value)
    assert make().recipe.key != before.key


def test_another_time_is_another_recipe() -> None:
    content = code()
    assert content.dated(0) == content
    assert content.dated(1).recipe.key != content.dated(2).recipe.key != content.recipe.key
    assert content.dated(1).mtime == 1
