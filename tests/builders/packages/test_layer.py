"""The layer of packages is whole, compiled, and the same wherever it is made."""

import importlib.util
import marshal
import os
import platform
import shutil
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from builders.images.layout import Layer, Platform
from builders.images.store import BlobStore
from builders.packages import compiling
from builders.packages import layer as layer_module
from builders.packages.layer import PackagesLayer
from builders.packages.resolving import Resolution, resolve_packages
from builders.packages.sources import Sources
from builders.packages.wanted import Wanted
from infra.errors import UserError
from tests.builders.packages.conftest import PASSWORD

pytestmark = [
    pytest.mark.server,
    pytest.mark.usefixtures("requirements"),
    pytest.mark.skipif(sys.platform != "linux", reason="packages for Linux are imported on Linux alone"),
]

HERE = Wanted("router", f"{sys.version_info.major}.{sys.version_info.minor}", Platform.of_machine(platform.machine()))
AT = "opt/model-compose/packages"
TAG = sys.implementation.cache_tag


@pytest.fixture
def resolution(wheels: Path, environ: dict[str, str], tmp_path: Path) -> Resolution:
    return resolve_packages(HERE, Sources(wheels=wheels), environ, tmp_path)


def make(
    resolution: Resolution, root: Path, wheels: Path, environ: dict[str, str], python: Path | None
) -> tuple[BlobStore, Layer, bool]:
    store, layer = BlobStore(root / "store"), PackagesLayer(HERE, resolution, python)
    environ = {**environ, "UV_CACHE_DIR": str(root / "uv")}
    made = store.layer(
        layer.recipe.key,
        lambda: layer.make(root / "work", Sources(wheels=wheels), environ),
        purpose=layer.recipe.purpose,
    )
    return store, *made


def files(store: BlobStore, layer: Layer) -> dict[str, bytes]:
    with store.open(layer.digest) as blob, tarfile.open(fileobj=blob, mode="r|") as tar:
        return {
            member.name.removeprefix(f"{AT}/"): content.read() for member in tar if (content := tar.extractfile(member))
        }


def interpreter() -> Path:
    found = compiling.find_python(HERE.python, HERE.platform)
    assert found is not None
    return found


def test_it_holds_the_packages_and_the_bytecode_of_what_is_imported(
    resolution: Resolution, wheels: Path, environ: dict[str, str], tmp_path: Path, smoke: Path
) -> None:
    store, layer, _ = make(resolution, tmp_path, wheels, environ, interpreter())
    found = files(store, layer)
    info = [
        f"{name}.dist-info/{file}"
        for name in ("shell-2.0", "snail-1.5")
        for file in ("INSTALLER", "METADATA", "RECORD", "WHEEL", "entry_points.txt")
    ]
    assert sorted(found) == sorted(
        [
            *info,
            "shell/__init__.py",
            f"shell/__pycache__/__init__.{TAG}.pyc",
            "snail/__init__.py",
            f"snail/__pycache__/__init__.{TAG}.pyc",
            f"snail/__pycache__/fast.{TAG}.pyc",
            "snail/fast.py",
            "snail/never.py",
        ]
    )
    header, code = (content := found[f"snail/__pycache__/fast.{TAG}.pyc"])[:16], marshal.loads(content[16:])
    unchecked = (1).to_bytes(4, "little")
    source = importlib.util.source_hash(found["snail/fast.py"])
    assert header == importlib.util.MAGIC_NUMBER + unchecked + source
    inner = next(constant for constant in code.co_consts if hasattr(constant, "co_filename"))
    assert {code.co_filename, inner.co_filename} == {f"/{AT}/snail/fast.py"}


def test_it_is_the_same_in_another_folder_under_another_umask(
    resolution: Resolution, wheels: Path, environ: dict[str, str], tmp_path: Path, smoke: Path
) -> None:
    _, first, _ = make(resolution, tmp_path / "first", wheels, environ, interpreter())
    before = os.umask(0o077)
    try:
        _, second, _ = make(resolution, tmp_path / "a second one", wheels, environ, interpreter())
    finally:
        os.umask(before)
    assert first == second


def test_it_names_no_folder_of_this_machine(
    resolution: Resolution, wheels: Path, environ: dict[str, str], tmp_path: Path, smoke: Path
) -> None:
    store, layer, _ = make(resolution, tmp_path, wheels, environ, interpreter())
    everything = store.read(layer.digest)
    assert str(tmp_path).encode() not in everything
    assert sys.executable.encode() not in everything


def test_a_password_of_an_index_is_nowhere(
    resolution: Resolution, guarded: str, environ: dict[str, str], tmp_path: Path, smoke: Path
) -> None:
    store, sources = BlobStore(tmp_path / "store"), Sources(index_url=guarded)
    found = resolve_packages(HERE, sources, environ, tmp_path)
    assert found == resolution
    layer = PackagesLayer(HERE, found, interpreter())
    made, _ = store.layer(
        layer.recipe.key, lambda: layer.make(tmp_path / "work", sources, environ), purpose=layer.recipe.purpose
    )
    everything = [*files(store, made).values(), repr(found).encode(), repr(layer.recipe).encode()]
    assert not [content for content in everything if PASSWORD.encode() in content or guarded.encode() in content]


def test_it_is_made_once(
    resolution: Resolution, wheels: Path, environ: dict[str, str], tmp_path: Path, smoke: Path
) -> None:
    _, first, reused = make(resolution, tmp_path, wheels, environ, interpreter())
    assert not reused
    assert make(resolution, tmp_path, tmp_path / "none", environ, interpreter())[1:] == (first, True)


def test_without_the_images_python_nothing_is_compiled_and_that_is_said(
    resolution: Resolution, wheels: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    store, layer, _ = make(resolution, tmp_path, wheels, environ, None)
    assert not [name for name in files(store, layer) if name.endswith(".pyc")]
    other = PackagesLayer.of(Wanted("router", "3.99", HERE.platform), resolution)
    assert (
        other.notice == f"there is no Python 3.99 for {HERE.platform} here: containers compile their packages at start"
    )
    assert PackagesLayer(HERE, resolution, interpreter()).notice is None


def test_a_recipe_says_what_would_make_another_layer(resolution: Resolution, smoke: Path) -> None:
    compiled, plain = PackagesLayer(HERE, resolution, interpreter()), PackagesLayer(HERE, resolution, None)
    assert compiled.recipe.key != plain.recipe.key
    (smoke / "router.py").write_text("import snail, shell\n")
    again = PackagesLayer(HERE, resolution, interpreter())
    differing = {name for name, part in again.recipe.parts.items() if part != compiled.recipe.parts[name]}
    assert differing == {"the rules of packing"}


@pytest.mark.parametrize(("name", "value"), [("PACKAGES", "/elsewhere"), ("_RULES", [Path(__file__)])])
def test_what_decides_how_packages_lie_is_part_of_the_recipe(
    resolution: Resolution, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    before = PackagesLayer(HERE, resolution, None).recipe
    monkeypatch.setattr(layer_module, name, value)
    assert PackagesLayer(HERE, resolution, None).recipe.key != before.key


def test_all_that_makes_the_layer_is_among_its_rules() -> None:
    assert {path.name for path in layer_module._RULES if path.is_file()} == {"layer.py", "installing.py", "pruning.py"}


@pytest.mark.parametrize(
    ("smoke_run", "reason"),
    [
        ("import slug", "slug is not among them"),
        ("raise MemoryError", "the import ended with MemoryError"),
        ("import json; json.loads('secret')", "the import ended with JSONDecodeError"),
        ("import sys; sys.exit(1)", "the import failed"),
        ("import os; os.kill(os.getpid(), 9)", "the import was ended by signal 9"),
    ],
)
def test_packages_that_cannot_be_imported_are_refused(
    resolution: Resolution,
    wheels: Path,
    environ: dict[str, str],
    tmp_path: Path,
    smoke: Path,
    smoke_run: str,
    reason: str,
) -> None:
    (smoke / "router.py").write_text(smoke_run)
    with pytest.raises(UserError) as caught:
        make(resolution, tmp_path, wheels, environ, interpreter())
    assert caught.value.message == f"the packages of the image cannot be imported: {reason}"


def test_a_disk_without_room_is_named_before_anything_is_fetched(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=200_000_000))
    monkeypatch.setattr("builders.packages.layer.install", lambda *_: pytest.fail("fetched"))
    for wanted, size in (
        (Wanted("task", "3.11", Platform()), "750 MB"),
        (Wanted("task", "3.11", Platform(), gpu=True), "4.0 GB"),
        (Wanted("page", "3.11", Platform()), "200 MB"),
    ):
        layer = PackagesLayer(wanted, Resolution(wanted.digest, ()), None)
        with pytest.raises(UserError, match=f"{size} are needed and 200 MB are free"):
            layer.make(tmp_path / "work" / "1", Sources(), environ)
