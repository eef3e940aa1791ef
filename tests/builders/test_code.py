"""Each kind of image gets the part of our code that its service imports, and nothing that lies about."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from builders.code import Code, ImageKind, code_for
from builders.container import MODULES
from services.catalog import TASKS

pytestmark = pytest.mark.unit

LATE = {
    "task": tuple(sorted({f"{task.module}" for task in TASKS.values()})),
    "router": (),
    "page": ("ui.page", "ui.live"),
}
"""What is imported by name, later."""
OURS = ("services", "ui", "infra", "builders", "compose")


def file_of(module: str, code: Code) -> str | None:
    path = module.replace(".", "/")
    return next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in code.files), None)


def imports(content: bytes) -> Iterator[str]:
    """The modules of ours that a file imports, anywhere in it; a name may be one within a package."""
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reached(modules: Iterable[str], code: Code) -> set[str]:
    """Modules of ours that importing some leads to."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found or module.partition(".")[0] not in OURS:
            continue
        found.add(module)
        if name := file_of(module, code):
            waiting += imports(code.files[name])
    return found


@pytest.mark.parametrize("kind", ["task", "router", "page"])
def test_whatever_a_service_imports_is_in_its_image(kind: ImageKind) -> None:
    code = code_for(kind)
    modules = reached((MODULES[kind], *LATE[kind]), code)
    lacking = {
        module
        for module in modules
        if file_of(module, code) is None and file_of(module.rpartition(".")[0], code) is None
    }
    assert lacking == set()


@pytest.mark.parametrize(
    ("kind", "has", "lacks"),
    [
        ("task", "services/engine/threaded.py", ("services/router/", "ui/")),
        ("router", "services/router/documents/page.html", ("services/engine/", "services/tasks/", "ui/")),
        ("page", "ui/page.py", ("services/engine/", "services/tasks/", "services/router/")),
    ],
)
def test_nobody_gets_what_is_anothers(kind: ImageKind, has: str, lacks: tuple[str, ...]) -> None:
    names = list(code_for(kind).files)
    assert has in names
    assert names == sorted(names)
    assert not [name for name in names if name.startswith(lacks)]


def test_a_changed_file_changes_the_digest(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    before = code_for("task", tmp_path).digest
    assert code_for("task", tmp_path).digest == before
    (folder / "more.py").write_text("")
    after = code_for("task", tmp_path).digest
    (folder / "more.py").write_text("more = 1")
    assert len({before, after, code_for("task", tmp_path).digest}) == 3


def test_code_stays_what_its_digest_says_while_somebody_edits_it(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    (folder / "__init__.py").write_text("before = 1")
    code = code_for("task", tmp_path)
    digest = code_for("task", tmp_path).digest
    (folder / "__init__.py").write_text("after = 1")
    assert (code.files, code.digest) == ({"services/__init__.py": b"before = 1"}, digest)
