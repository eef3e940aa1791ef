"""The base image from Debian's packages, in a container that may do nothing."""

import json
import os
import ssl
import subprocess
import tarfile
from pathlib import Path

import pytest

from infra.base import packages, root

pytestmark = pytest.mark.docker

RESTRICTED = [
    *("--rm", "--init", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", "10001:10001"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--env", "HOME=/tmp"),
]

PROBE = """
import importlib, json, ssl, sys, warnings, zoneinfo
warnings.simplefilter("ignore")
missing = []
for name in json.load(sys.stdin):
    try:
        importlib.import_module(name)
    except ImportError:
        missing.append(name)
print(json.dumps({
    "version": list(sys.version_info[:2]),
    "missing": missing,
    "authorities": len(ssl.create_default_context().get_ca_certs()),
    "encoding": sys.getfilesystemencoding(),
    "compiled": json.__cached__,
    "zones": len(zoneinfo.available_timezones()),
}))
"""

MODULES = [
    *("_bz2", "_ctypes", "_hashlib", "_lzma", "_multiprocessing", "_posixshmem", "_sqlite3", "_ssl", "_uuid"),
    *("_zoneinfo", "asyncio", "concurrent.futures", "decimal", "email", "http.client", "importlib.metadata"),
    *("logging.config", "multiprocessing.pool", "pickle", "resource", "sysconfig", "termios", "unittest.mock"),
]


def test_python_runs_without_a_network_rights_or_a_place_to_write(base_image: str) -> None:
    command = ["docker", "run", "--interactive", *RESTRICTED, base_image, "python3", "-P", "-c", PROBE]
    asked = subprocess.run(command, input=json.dumps(MODULES), check=True, capture_output=True, text=True, timeout=60)
    said = json.loads(asked.stdout)
    assert said.pop("authorities") > 100
    assert said.pop("zones") > 400
    assert said == {
        "version": [3, 11],
        "missing": [],
        "encoding": "utf-8",
        "compiled": "/usr/lib/python3.11/json/__pycache__/__init__.cpython-311.pyc",
    }


def test_its_history_says_nothing_of_the_machine(base_image: str) -> None:
    command = ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", base_image]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip() == ""


def test_everything_belongs_to_root_and_nothing_raises_rights_or_keeps_a_time(base_tar: Path) -> None:
    with tarfile.open(base_tar) as archive:
        members = archive.getmembers()
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", 0)}
    assert {member.mode for member in members if member.isfile()} == {0o644, 0o755}
    assert [member.name for member in members if member.isdir() and member.mode != 0o755] == ["tmp", "var/tmp"]
    assert [member.name for member in members] == sorted(member.name for member in members)


def test_it_is_small_and_has_neither_a_shell_nor_a_package_manager(base_tar: Path) -> None:
    with tarfile.open(base_tar) as archive:
        programs = [name for name in archive.getnames() if name.startswith(("usr/bin/", "usr/sbin/"))]
    assert base_tar.stat().st_size < 60e6
    assert {"usr/bin/python3", "usr/bin/python3.11"} <= set(programs)
    assert not [name for name in programs if name.endswith(("sh", "dpkg", "apt", "apt-get", "perl"))]


def test_its_certificates_are_those_of_debian(base_tar: Path) -> None:
    with tarfile.open(base_tar) as archive:
        bundle = archive.extractfile("etc/ssl/certs/ca-certificates.crt")
        assert bundle is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=bundle.read().decode())
    assert len(context.get_ca_certs()) > 100


def test_equal_packages_make_equal_bytes_wherever_they_are_unpacked(tmp_path: Path) -> None:
    tree = root.read(packages.fetch(tmp_path / "apt"))

    def made(folder: Path, umask: int) -> bytes:
        before = os.umask(umask)
        try:
            return root.packed({**tree, **root.compiled(tree, folder)})
        finally:
            os.umask(before)

    assert made(tmp_path / "one", 0o022) == made(tmp_path / "another" / "place", 0o077)
