"""The root file system of the base image, made of small packages."""

import errno
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from infra.base import packages
from infra.base.__main__ import main
from infra.base.root import File, Link, packed, read, versions

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb makes the packages"),
]


def _package(folder: Path, name: str, files: dict[str, str]) -> Path:
    root = folder / name
    (root / "DEBIAN").mkdir(parents=True)
    control = {
        "Package": name,
        "Version": "1:2.0-3",
        "Architecture": "all",
        "Maintainer": "x <x@x>",
        "Description": "x",
    }
    (root / "DEBIAN" / "control").write_text("".join(f"{key}: {value}\n" for key, value in control.items()))
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            (root / path).symlink_to(content.removeprefix("-> "))
        else:
            (root / path).write_text(content)
            (root / path).chmod(0o4755 if content.startswith("#!") else 0o600)
    deb = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, deb], check=True, capture_output=True)
    return deb


def test_it_holds_what_services_need_and_what_the_packages_scripts_would_have_made(tmp_path: Path) -> None:
    one = _package(
        tmp_path,
        "one",
        {
            "lib/x86_64-linux-gnu/libone.so.1.0": "library",
            "lib/x86_64-linux-gnu/libone.so.1": "-> libone.so.1.0",
            "usr/bin/one": "#!one",
            "usr/share/doc/one/copyright": "ours",
            "usr/share/doc/one/changelog": "long",
            "usr/share/man/man1/one.1": "longer",
            "usr/lib/python3.11/test/test_one.py": "",
            "usr/lib/python3.11/lib-dynload/readline.so": "",
        },
    )
    two = _package(
        tmp_path,
        "two",
        {
            "usr/share/ca-certificates/mozilla/b.crt": "second\n",
            "usr/share/ca-certificates/mozilla/a.crt": "first\n",
        },
    )
    tree = read([one, two])
    from_packages = {
        path: tree[path]
        for path in tree
        if path.startswith(("usr/lib/", "usr/bin/one", "usr/share/", "etc/ssl/")) and "ssl/cert.pem" not in path
    }
    assert from_packages == {
        "usr/lib/x86_64-linux-gnu/libone.so.1.0": File(b"library"),
        "usr/lib/x86_64-linux-gnu/libone.so.1": Link("libone.so.1.0"),
        "usr/bin/one": File(b"#!one", executable=True),
        "usr/share/doc/one/copyright": File(b"ours"),
        "etc/ssl/certs/ca-certificates.crt": File(b"first\nsecond\n"),
    }
    assert versions(tree) == {"one": "1:2.0-3", "two": "1:2.0-3"}
    assert tree["bin"] == Link("usr/bin")
    assert tree["usr/bin/python3"] == Link("python3.11")


def test_equal_trees_are_equal_bytes_whatever_their_order() -> None:
    tree: dict[str, File | Link] = {"b/file": File(b"1"), "a": Link("b"), "b/program": File(b"2", executable=True)}
    assert packed(tree) == packed(dict(reversed(tree.items())))


def test_folders_files_and_links_belong_to_root_and_have_one_mode_each() -> None:
    archive = packed({"b/c/file": File(b"1"), "a": Link("b"), "b/program": File(b"2", executable=True)})
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        found = {member.name: (member.mode, member.uid, member.mtime, member.linkname) for member in opened}
    assert {name: found[name] for name in ("a", "b", "b/c", "b/c/file", "b/program", "tmp")} == {
        "a": (0o777, 0, 0, "b"),
        "b": (0o755, 0, 0, ""),
        "b/c": (0o755, 0, 0, ""),
        "b/c/file": (0o644, 0, 0, ""),
        "b/program": (0o755, 0, 0, ""),
        "tmp": (0o1777, 0, 0, ""),
    }


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("absent/base.tar", "no such file or directory"),
        ("file/base.tar", "not a directory"),
        ("folder", "is a directory"),
    ],
)
def test_a_target_that_cannot_be_written_is_told_before_anything_is_fetched(
    place: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "fetch", lambda _: pytest.fail("fetches"))
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    target = tmp_path / place
    assert main([str(target)]) == 4
    assert capsys.readouterr().err == f"{target} cannot be written: {why}\nchoose a place that you may write to\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_the_reason_of_apt_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package x' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(apt.parent))
    assert main([str(tmp_path / "base.tar")]) == 4
    told = capsys.readouterr().err.splitlines()[0]
    assert told == "apt-get could not fetch Debian's packages: Unable to locate package x"
    assert list(tmp_path.iterdir()) == [apt.parent]


def test_a_disk_that_is_full_in_the_end_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "fetch", lambda _: [])
    monkeypatch.setattr("infra.base.root.compiled", lambda *_: {})
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        whole(path, content[:9])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "write_bytes", full)
    target = tmp_path / "base.tar"
    assert main([str(target)]) == 4
    assert capsys.readouterr().err.startswith(f"{target} cannot be written: no space left on device\n")
    assert list(tmp_path.iterdir()) == []
