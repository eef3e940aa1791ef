"""A module is changed before anybody sees it, and only inside the block."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from services.importing import changed_at_import

pytestmark = pytest.mark.unit


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its `__init__` uses at once what its `part` defines."""
    name = f"package_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("from .part import say\nsaid = say()\n")
    (tmp_path / name / "part.py").write_text("def say():\n    return 'unchanged'\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def change(module: Any) -> None:
    assert module.say() == "unchanged"
    module.say = lambda: "changed"


def test_who_imports_it_finds_it_changed(package: str) -> None:
    before = list(sys.meta_path)
    with changed_at_import(f"{package}.part", change):
        assert import_module(package).said == "changed"
    assert sys.meta_path == before


def test_after_the_block_and_under_other_names_nothing_is_changed(package: str) -> None:
    with changed_at_import(f"{package}.none", change), pytest.raises(ModuleNotFoundError):
        import_module(f"{package}.none")
    assert import_module(package).said == "unchanged"
