"""Turns Debian's packages into one root file system: no scripts run, nothing is owned by anybody, no time is kept."""

import io
import re
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PYTHON = "usr/bin/python3.11"
_STDLIB = "usr/lib/python3.11"


@dataclass(frozen=True)
class File:
    """A regular file; every one is readable for all, and only root may write it."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


Tree = Mapping[str, File | Link]
"""Paths without a leading slash. Folders come from the paths of what they hold."""

_FOLDERS = {
    **dict.fromkeys(("dev", "proc", "run", "sys", "usr/sbin"), 0o755),  # an engine mounts something in each of them
    **dict.fromkeys(("tmp", "var/tmp"), 0o1777),
}

_LEFT_OUT = re.compile(
    r"""
    usr/sbin/update-ca-certificates
    | usr/share/(?!zoneinfo/|common-licenses/|doc/[^/]+/copyright$)
    | usr/lib/[^/]+/gconv/                # tables for character sets that only iconv() reads
    | usr/lib/python3\.11/(test|pydoc_data)/
    # modules that need further libraries, and those that test Python itself
    | usr/lib/python3\.11/lib-dynload/(_curses|_dbm|nis|ossaudiodev|readline|_test|_ctypes_test|_xxtest|xxlimited)
    | etc/(issue|motd|update-motd\.d/|profile|skel/|default/|ca-certificates)
    """,
    re.VERBOSE,
)

_ADDED: Tree = {
    **{name: Link(f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")},
    "etc/group": File(b"root:x:0:\nnogroup:x:65534:\n"),
    "etc/nsswitch.conf": File(b"passwd: files\ngroup: files\nhosts: files dns\n"),
    "etc/passwd": File(b"root:x:0:0:root:/root:/nonexistent\nnobody:x:65534:65534:nobody:/nonexistent:/nonexistent\n"),
    "usr/bin/python3": Link("python3.11"),
    "usr/lib/ssl/cert.pem": Link("/etc/ssl/certs/ca-certificates.crt"),
}


def read(debs: Iterable[Path]) -> dict[str, File | Link]:
    """What the packages hold, without what no container needs, and what their scripts would have made of it."""
    tree: dict[str, File | Link] = {}
    certificates = {}
    for deb in debs:
        with tarfile.open(fileobj=io.BytesIO(_dpkg_deb("--fsys-tarfile", deb))) as archive:
            for member in archive:
                path = _merged(member.name)
                if path.startswith("usr/share/ca-certificates/") and member.isfile():
                    certificates[path] = _content(archive, member)
                elif member.isdir() or _LEFT_OUT.match(path):
                    continue
                elif member.issym():
                    tree[path] = Link(member.linkname)
                else:
                    tree[path] = File(_content(archive, member), executable=bool(member.mode & 0o100))
        control = _dpkg_deb("--field", deb)
        tree[f"var/lib/dpkg/status.d/{_field(control, 'Package')}"] = File(control)  # where scanners look
    bundle = b"".join(certificates[path] for path in sorted(certificates))
    return {**tree, **_ADDED, "etc/ssl/certs/ca-certificates.crt": File(bundle)}


def versions(tree: Tree) -> dict[str, str]:
    """Package name to version."""
    controls = [
        file.content for path, file in tree.items() if path.startswith("var/lib/dpkg/") and isinstance(file, File)
    ]
    return {_field(control, "Package"): _field(control, "Version") for control in controls}


def compiled(tree: Tree, folder: Path) -> dict[str, File]:
    """Bytecode of the standard library, written in the empty `folder` by the Python of the tree, not of the machine."""
    with tarfile.open(fileobj=io.BytesIO(packed(tree))) as archive:
        archive.extractall(folder, filter="tar")
    (loader,) = folder.glob("usr/lib/*/ld-linux-*.so.*")
    python = [str(loader), "--library-path", str(loader.parent), str(folder / PYTHON), "-s", "-P"]
    options = ["-q", "-s", str(folder), "-p", "/", "--invalidation-mode", "unchecked-hash", str(folder / _STDLIB)]
    environment = {"PYTHONHOME": str(folder / "usr"), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([*python, "-m", "compileall", *options], check=True, env=environment)  # noqa: S603  # ours
    return {path.relative_to(folder).as_posix(): File(path.read_bytes()) for path in (folder / _STDLIB).rglob("*.pyc")}


def packed(tree: Tree) -> bytes:
    """One tar archive: sorted, owned by root, without times, so that equal trees are equal bytes."""
    folders = {str(parent): 0o755 for path in tree for parent in PurePosixPath(path).parents if str(parent) != "."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entries: dict[str, File | Link | int] = {**folders, **_FOLDERS, **tree}
        for path in sorted(entries):
            entry, member = entries[path], tarfile.TarInfo(path)
            if isinstance(entry, int):
                member.type, member.mode = tarfile.DIRTYPE, entry
                archive.addfile(member)
            elif isinstance(entry, Link):
                member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, entry.target
                archive.addfile(member)
            else:
                member.size, member.mode = len(entry.content), 0o755 if entry.executable else 0o644
                archive.addfile(member, io.BytesIO(entry.content))
    return buffer.getvalue()


def _merged(name: str) -> str:
    """The path with /bin, /lib, /lib64 and /sbin inside /usr, where bookworm has them."""
    path = name.removeprefix("./").rstrip("/")
    return f"usr/{path}" if path.split("/", 1)[0] in {"bin", "lib", "lib64", "sbin"} else path


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, f"{member.name} is neither a file nor a hard link to one"
    return file.read()


def _dpkg_deb(option: str, deb: Path) -> bytes:
    command = ["dpkg-deb", option, str(deb)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603  # what apt has fetched


def _field(control: bytes, name: str) -> str:
    found = re.search(rf"^{name}: (.*)$", control.decode(), re.MULTILINE)
    assert found is not None, f"a package without {name}"
    return found[1]
