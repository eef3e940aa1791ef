"""A project that the real `build` makes images of in seconds: tiny wheels, a base of two files, a small model."""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import infra
from builders.images.layout import Platform
from tests.builders.packages.conftest import make_wheel

COMMAND = Path(sys.executable).with_name("model-compose")
FILE = """\
controller: {webui: }
component: {id: chat, type: model, task: chat-completion, model: ./model}
"""

_REQUIREMENTS = Path(infra.__file__).parent / "requirements"
_FOREIGN = "linux/arm64" if Platform.of_machine(platform.machine()).architecture == "amd64" else "linux/amd64"
"""A platform whose packages this machine cannot import, so that wheels of one line will do."""


@dataclass(frozen=True)
class Workshop:
    """The project's folder, what stands around it, and the environment of its commands.

    materials: wheels, the base and the model, which no test changes.
    """

    folder: Path
    materials: Path
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def make(cls, place: Path, materials: Path, name: str = "shop", **environment: str) -> "Workshop":
        """With an empty store, and a folder of its own for what programs call temporary."""
        folder = place / name
        shutil.copytree(materials / "model", folder / "model")
        (folder / "model-compose.yml").write_text(FILE, encoding="utf-8")
        own = {
            "MODEL_COMPOSE_CACHE": str(place / "cache"),
            "TMPDIR": str(place / "temporary"),
            "HOME": str(place),
            "UV_CACHE_DIR": str(materials / "uv"),
            "DOCKER_HOST": f"unix://{place}/no.sock",
            "NO_COLOR": "1",
        }
        (place / "temporary").mkdir(exist_ok=True)
        return cls(folder, materials, {**os.environ, **own, **environment})

    @property
    def cache(self) -> Path:
        return Path(self.environment["MODEL_COMPOSE_CACHE"])

    @property
    def temporary(self) -> Path:
        return Path(self.environment["TMPDIR"])

    @property
    def lock(self) -> Path:
        return self.folder / "model-compose.lock"

    def command(self, *arguments: str) -> list[str]:
        """`build` with the materials, and what a test adds."""
        materials = os.path.relpath(self.materials, self.folder)
        sources = ("--base", f"tar:{materials}/base.tar", "--wheels", f"{materials}/wheels")
        return [str(COMMAND), "build", *sources, "--platform", _FOREIGN, *arguments]

    def build(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """check: whether it has to succeed."""
        ended = self.run(self.command("--no-verify", *arguments))
        assert ended.returncode == 0 or not check, ended.stderr
        return ended

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, not waited for, in a process group of its own."""
        return subprocess.Popen(
            self.command("--no-verify", *arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def names(self) -> list[str]:
        """Of the images that have one."""
        return sorted(json.loads(path.read_text())["name"] for path in self._files("images/images"))

    def damaged(self) -> list[Path]:
        """Blobs and copies of weights whose content is not what their names say."""
        kept = [*self._files("images/blobs/sha256"), *self._files("weights/files")]
        return [path for path in kept if not _is_begun(path) and _sha256(path) != path.name]

    def leftovers(self) -> list[Path]:
        """What somebody began and did not finish."""
        places = ("images/begun", "weights/files", "weights/seen")
        begun = [path for place in places for path in self._files(place) if _is_begun(path)]
        work = [path for path in self.cache.glob("work/*") if path.name != "lock"]
        mine = {"model", "model-compose.yml", "model-compose.lock"}
        beside = [path for path in self.folder.iterdir() if path.name not in mine]
        return [*begun, *work, *beside, *self.temporary.iterdir()]

    def _files(self, place: str) -> list[Path]:
        return list((self.cache / place).glob("*"))


def digests(said: str) -> dict[str, str]:
    """What the table says: each image and its digest."""
    return dict(re.findall(r"^(\S+:\S+) .*(sha256:[0-9a-f]{64})$", said, re.MULTILINE))


def layers(said: str) -> list[tuple[str, str]]:
    """What a build says of each layer: its purpose, and `new` or `reused`."""
    found = re.findall(r"^\S+ +(new|reused) +[\d.]+ [KMG]?B  (.+)  \(", said, re.MULTILINE)
    return [(purpose, verdict) for verdict, purpose in found]


def make_materials(folder: Path) -> Path:
    """Everything that a build takes from elsewhere."""
    from tests.models import make_model

    pinned = re.findall(r"^([\w.-]+)==([^\s;]+)", _read("constraints.txt"), re.MULTILINE)
    versions = {_normal(name): version for name, version in pinned}
    asked = "".join(map(_read, ("tasks.txt", "router.txt", "page.txt")))
    names = {_normal(name) for name in re.findall(r"^[\w-]+", asked, re.MULTILINE)} | {"psycopg-binary"}
    for name in sorted(names):
        version = versions[name] + ("+cpu" if name == "torch" else "")
        make_wheel(folder / "wheels", name.replace("-", "_"), version)
    make_base(folder / "base.tar")
    make_model("llama", folder / "model")
    return folder


def make_base(path: Path) -> None:
    """A root file system that has Python 3.11 by name."""
    folder, link, program = map(tarfile.TarInfo, ("usr", "usr/bin/python3", "usr/bin/python3.11"))
    folder.type, link.type, link.linkname = tarfile.DIRTYPE, tarfile.SYMTYPE, "python3.11"
    with tarfile.open(path, "w") as tar:
        for entry in (folder, link, program):
            tar.addfile(entry)


def _read(name: str) -> str:
    return (_REQUIREMENTS / name).read_text(encoding="utf-8")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_begun(path: Path) -> bool:
    return path.name.startswith(".")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
