"""model-compose.lock reads back as it was written, differs by lines, and refuses what does not fit it."""

from dataclasses import replace
from pathlib import Path

import pytest

from builders.images.layout import Platform
from builders.lock import Lock, LockedModel, base_name, check_locked, differences, model_name, packages_name
from builders.packages.resolving import Package, Resolution
from builders.packages.wanted import Wanted
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit

WANTED = Wanted("task", "3.11", Platform())
BASE = base_name("python:3.11-slim", WANTED.platform)
PACKAGES = packages_name(WANTED)
CLICK, TORCH = Package("click", "8.5.1", ("1" * 64, "2" * 64)), Package("torch", "2.13.0+cpu", ("3" * 64,))
LOCK = Lock(
    tool="0.1.0",
    bases={BASE: f"sha256:{'a' * 64}"},
    models={
        "tiny/one": LockedModel(
            "c" * 40, {"model.safetensors": "d" * 64, "config.json": "e" * 64}, 5_412_345, 1_350_000
        )
    },
    packages={PACKAGES: Resolution(WANTED.digest, (CLICK, TORCH))},
)
TEXT = f"""\
# Written by `model-compose build`. Keep it with the file: the next build takes the same again.

format = 1
tool = "0.1.0"

[bases]
"python:3.11-slim for linux/amd64" = "sha256:{"a" * 64}"

[models."tiny/one"]
revision = "{"c" * 40}"
weights_bytes = 5412345
parameters = 1350000

[models."tiny/one".files]
"config.json" = "{"e" * 64}"
"model.safetensors" = "{"d" * 64}"

[packages."task-cpu for linux/amd64, Python 3.11"]
wanted = "{WANTED.digest}"

[packages."task-cpu for linux/amd64, Python 3.11".wheels]
"click==8.5.1" = [
    "{"1" * 64}",
    "{"2" * 64}",
]
"torch==2.13.0+cpu" = [
    "{"3" * 64}",
]
"""


def with_packages(*packages: Package) -> Lock:
    return replace(LOCK, packages={PACKAGES: Resolution(WANTED.digest, packages)})


def with_files(**files: str) -> Lock:
    return replace(LOCK, models={"tiny/one": LockedModel("c" * 40, files)})


def test_it_is_sorted_text_with_a_line_for_each_thing() -> None:
    assert LOCK.text == TEXT


def test_it_reads_back_as_it_was_written() -> None:
    assert Lock.parse(LOCK.text) == LOCK
    local = replace(LOCK, models={"./model": LockedModel(None, {"config.json": "e" * 64})})
    assert Lock.parse(local.text) == local


def test_no_file_is_no_lock(tmp_path: Path) -> None:
    assert Lock.read(tmp_path / "model-compose.lock") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "format = 2\ntool = '1'",
        "format = 1",
        "format = 1\ntool = 1",
        "<<<<<<< HEAD",
        TEXT.replace("click==8.5.1", "click @ https://evil.example/x.whl"),
        TEXT.replace("click==8.5.1", "click==8.5.1\\n--index-url https://evil.example"),
        TEXT.replace("1" * 64, "1"),
        "format = 1\ntool = '1'\nbases = 'x'",
        "format = 1\ntool = '1'\n[models]\nx = 1",
        TEXT.replace("5412345", "'5 MB'"),
        TEXT.replace("5412345", "0"),
    ],
)
def test_another_text_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model-compose.lock"
    path.write_text(text)
    with pytest.raises(UserError, match=r"model-compose\.lock cannot be read") as caught:
        Lock.read(path)
    assert caught.value.exit_code == ExitCode.FILE


def test_models_are_taken_again_at_the_commit_that_their_revision_stood_for() -> None:
    named = model_name("tiny/one", "v2")
    lock = replace(LOCK, models={**LOCK.models, named: LockedModel("f" * 40, {}), "./model": LockedModel(None, {})})
    assert lock.commit("tiny/one", None) == "c" * 40
    assert lock.commit("tiny/one", "v2") == "f" * 40
    assert [lock.commit("tiny/one", "v3"), lock.commit("tiny/two", None), lock.commit("./model", None)] == [None] * 3


def test_files_are_taken_again_while_commit_and_version_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builders.lock.tool_version", lambda: LOCK.tool)
    assert LOCK.files("tiny/one", None, "c" * 40) == LOCK.models["tiny/one"].files
    assert [LOCK.files("tiny/one", None, "d" * 40), LOCK.files("tiny/two", None, "c" * 40)] == [(), ()]
    local = replace(LOCK, models={"./model": LockedModel(None, {"config.json": "e" * 64})})
    assert local.files("./model", None, None) == ()
    monkeypatch.setattr("builders.lock.tool_version", lambda: "another")
    assert LOCK.files("tiny/one", None, "c" * 40) == ()


def test_packages_are_taken_again_while_the_same_are_wanted() -> None:
    assert LOCK.resolution(WANTED) == LOCK.packages[PACKAGES]
    assert LOCK.resolution(replace(WANTED, gpu=True)) is None
    assert replace(LOCK, packages={PACKAGES: Resolution("other", (CLICK,))}).resolution(WANTED) is None


def test_a_part_of_a_build_leaves_the_other_lines() -> None:
    part = Lock("0.2.0", bases={BASE: "sha256:b"}, models={"tiny/two": LockedModel(None, {})})
    assert part.beside(None) == part
    assert part.beside(LOCK) == Lock(
        tool="0.2.0",
        bases={BASE: "sha256:b"},
        models={**LOCK.models, **part.models},
        packages=LOCK.packages,
    )


def test_the_last_base_for_a_platform_replaces_those_before() -> None:
    arm = base_name("debian:12", "linux/arm64")
    part = Lock("0.1.0", bases={base_name("tar:../base.tar", WANTED.platform): "sha256:b"})
    lock = part.beside(replace(LOCK, bases={**LOCK.bases, arm: "sha256:c"}))
    assert lock.bases == {**part.bases, arm: "sha256:c"}
    assert [lock.base(WANTED.platform), lock.base("linux/arm64")] == ["tar:../base.tar", "debian:12"]
    assert Lock("0.1.0").base("linux/arm64") is None


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (LOCK, []),
        (Lock("0.1.0"), []),
        (replace(LOCK, tool="0.2.0"), ["model-compose is 0.2.0, not 0.1.0"]),
        (replace(LOCK, bases={BASE: "sha256:b"}), [f"the base {BASE} is sha256:b, not sha256:{'a' * 64}"]),
        (replace(LOCK, bases={"x": "sha256:b"}), ["it does not have the base x"]),
        (replace(LOCK, models={"tiny/two": LockedModel(None, {})}), ["it does not have the model tiny/two"]),
        (
            replace(LOCK, models={"tiny/one": replace(LOCK.models["tiny/one"], revision="f" * 40)}),
            [f"tiny/one is at {'f' * 40}, not {'c' * 40}"],
        ),
        (
            with_files(**{"config.json": "0" * 64, "merges.txt": "0" * 64}),
            [
                "config.json of tiny/one has changed",
                "merges.txt of tiny/one is new",
                "model.safetensors of tiny/one is gone",
            ],
        ),
        (with_packages(CLICK, replace(TORCH, version="2.14.1")), ["torch is 2.14.1, not 2.13.0+cpu"]),
        (with_packages(CLICK, replace(TORCH, hashes=("4" * 64,))), ["torch 2.13.0+cpu has other wheels"]),
        (with_packages(CLICK), ["torch is gone, not 2.13.0+cpu"]),
        (
            replace(LOCK, packages={PACKAGES: replace(LOCK.packages[PACKAGES], wanted="other")}),
            [f"the requirements of {PACKAGES} have changed"],
        ),
        (replace(LOCK, packages={"x": LOCK.packages[PACKAGES]}), ["it does not have the packages of x"]),
    ],
)
def test_every_difference_is_named(now: Lock, said: list[str]) -> None:
    assert list(differences(LOCK, now)) == said


def test_locked_refuses_and_names_the_first_differences(tmp_path: Path) -> None:
    path = tmp_path / "model-compose.lock"
    check_locked(path, LOCK, LOCK)
    with pytest.raises(UserError) as caught:
        check_locked(path, LOCK, with_files(**{f"{number}.json": "0" * 64 for number in range(6)}))
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (
        "model-compose.lock does not fit: 0.json of tiny/one is new; 1.json of tiny/one is new; "
        "2.json of tiny/one is new; 3.json of tiny/one is new; 4.json of tiny/one is new, and 3 more",
        "build without --locked to bring it up to date",
        ExitCode.ENVIRONMENT,
    )
    with pytest.raises(UserError, match=r"--locked needs model-compose\.lock, and there is none in "):
        check_locked(path, None, LOCK)


def test_a_lock_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        Lock.read(tmp_path)
    assert (caught.value.message, caught.value.exit_code) == (
        f"{tmp_path} cannot be read: is a directory",
        ExitCode.FILE,
    )
