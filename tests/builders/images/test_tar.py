"""A layer's bytes depend on names and contents alone, and hold nothing that does not belong into an image."""

import contextlib
import io
import os
import random
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.images.layout import digest_of
from builders.images.tar import Entry, File, Folder, Link, content_size, folder_tree, write_tar
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit


class Buffer(io.BytesIO):
    """A sink in memory."""

    def write_file(self, source: Path, size: int) -> None:
        self.write(source.read_bytes()[:size])


def tar_of(tree: Mapping[str, Entry], mtime: int = 0) -> bytes:
    buffer = Buffer()
    write_tar(tree, buffer, mtime=mtime)
    return buffer.getvalue()


def read(tar: bytes) -> list[tuple[str, str, int, bytes]]:
    """Path, type or target, mode, and content of all entries; they all belong to root and have no time."""
    entries = []
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for info in archive:
            assert (info.uid, info.gid, info.uname, info.gname, info.mtime) == (0, 0, "", "", 0)
            content = archive.extractfile(info)
            kind = {tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: info.linkname}.get(info.type, "file")
            data = content.read() if content is not None and info.isfile() else b""
            entries.append((info.name, kind, info.mode, data))
    return entries


def test_a_layer_holds_its_entries_sorted_and_the_folders_above_them(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * 1000)
    tree: dict[str, Entry] = {
        "/opt/b/run": File(b"#!", executable=True),
        "/opt/b": Folder(),
        "opt/a.txt": File(tmp_path / "long"),
        "/opt/empty": Folder(),
        "/opt/link": Link("../opt/a.txt"),
        "/opt/open": Folder(shared=True),
    }
    assert read(tar_of(tree)) == [
        ("opt", "folder", 0o755, b""),
        ("opt/a.txt", "file", 0o644, b"x" * 1000),
        ("opt/b", "folder", 0o755, b""),
        ("opt/b/run", "file", 0o755, b"#!"),
        ("opt/empty", "folder", 0o755, b""),
        ("opt/link", "../opt/a.txt", 0o777, b""),
        ("opt/open", "folder", 0o1777, b""),
    ]
    assert content_size(tree) == 1002


def test_the_bytes_of_a_layer_are_those_of_every_version_of_this_tool() -> None:
    tree: dict[str, Entry] = {
        "/a/b": File(b"content"),
        "/a/" + "name" * 40: File(b"", executable=True),
        "/a/ü": Link("b"),
    }
    assert digest_of(tar_of(tree)) == "sha256:ba3d82a3acb180c6395c38430536b1c8d9a34c52dfe8988330d076ebd6d400d5"


def test_long_names_and_large_files_are_told_by_pax_headers() -> None:
    names = ["a/" + "x" * 200, "ü/ключ", "deep/" * 60 + "file"]
    tree: dict[str, Entry] = {name: File(name.encode()) for name in names}
    assert {path: data for path, kind, _, data in read(tar_of(tree)) if kind == "file"} == {
        name: name.encode() for name in names
    }


def test_a_time_is_given_to_every_entry() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of({"a/b": File(b""), "a/l": Link("b")}, mtime=981173106))) as archive:
        assert {info.mtime for info in archive} == {981173106}


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and not name.startswith(".wh.")
)
FILES = st.dictionaries(NAMES, st.tuples(st.binary(max_size=600), st.booleans()), min_size=1, max_size=4)
FOLDERS = st.dictionaries(NAMES, FILES, max_size=4)


@settings(max_examples=50)
@given(folders=FOLDERS, somehow=st.randoms(use_true_random=False))
def test_neither_times_nor_umasks_owners_attributes_and_order_change_a_layer(
    folders: Mapping[str, Mapping[str, tuple[bytes, bool]]], somehow: random.Random
) -> None:
    files = {f"{folder}/{name}": file for folder, names in folders.items() for name, file in names.items()}
    expected = tar_of({f"/opt/{name}": File(content, executable) for name, (content, executable) in files.items()})
    with tempfile.TemporaryDirectory() as root:
        place(Path(root), files, somehow)
        assert tar_of(folder_tree(Path(root), "/opt")) == expected


def place(root: Path, files: Mapping[str, tuple[bytes, bool]], somehow: random.Random) -> None:
    """Write files as another user would, at another time."""
    before = os.umask(somehow.choice([0o000, 0o022, 0o027, 0o077]))
    try:
        for name, (content, executable) in somehow.sample(sorted(files.items()), len(files)):
            path = root / name
            path.parent.mkdir(exist_ok=True)
            path.touch(0o777 if executable else 0o666)
            path.write_bytes(content)
            with contextlib.suppress(OSError):
                os.setxattr(path, "user.note", name.encode())
            if os.geteuid() == 0:
                os.chown(path, somehow.randrange(60000), somehow.randrange(60000))
            os.utime(path, (0, somehow.randrange(2**31)))
    finally:
        os.umask(before)


def test_links_within_a_folder_stay_links_and_only_what_is_wanted_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lib" / "deep").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "lib" / "real.so").write_bytes(b"so")
    (tmp_path / "lib" / "deep" / "name.so").symlink_to("../real.so")
    (tmp_path / "lib" / "folder").symlink_to("deep")
    (tmp_path / "lib" / "left.pyc").write_bytes(b"")
    tree = folder_tree(tmp_path, "/opt", only=lambda path: path.suffix != ".pyc", lasting=True)
    assert tree == {
        "/opt/lib/real.so": File(tmp_path.resolve() / "lib" / "real.so", lasting=True),
        "/opt/lib/deep/name.so": Link("../real.so"),
        "/opt/lib/folder": Link("deep"),
    }


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "inner/../../secret"])
def test_a_link_out_of_its_folder_does_not_enter_an_image(tmp_path: Path, target: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("x")
    (folder / "planted").symlink_to(target)
    with pytest.raises(
        UserError, match="planted' cannot be part of an image: it is a link out of its folder"
    ) as caught:
        folder_tree(folder, "/opt")
    assert caught.value.exit_code is ExitCode.FILE


def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        folder_tree(tmp_path, "/opt")


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({"/opt/../etc/passwd": File(b"")}, "plain path"),
        ({"/opt//a": File(b"")}, "plain path"),
        ({"//etc/a": File(b"")}, "plain path"),
        ({"/opt/a/": File(b"")}, "plain path"),
        ({"": Folder()}, "plain path"),
        ({"./a": File(b"")}, "plain path"),
        ({"/opt/.wh.etc": File(b"")}, "a file is removed"),
        ({"/opt/.wh..wh..opq": File(b"")}, "a file is removed"),
        ({"/opt/.wh.x/y": File(b"")}, "a file is removed"),
        ({"/a\0b": File(b"")}, "zero byte"),
        ({"/a\udcff": File(b"")}, "UTF-8"),
        ({"/a": Link("b\udcff")}, "UTF-8"),
        ({"/a": Link("b\0c")}, "zero byte"),
        ({"/a": File(b"1"), "a": File(b"2")}, "there twice"),
        ({"/a": File(b""), "/a/b": File(b"")}, "no folder"),
        ({"/a": Link("c"), "/a/b": File(b"")}, "no folder"),
    ],
)
def test_paths_that_no_layer_may_hold_are_refused(tree: Mapping[str, Entry], why: str) -> None:
    with pytest.raises(UserError, match=f"cannot be part of an image: .*{why}") as caught:
        tar_of(tree)
    assert caught.value.exit_code is ExitCode.FILE
