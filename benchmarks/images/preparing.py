"""Fetches once what the measurements need, so that none of them waits for a network: `prepare`."""

import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

from benchmarks.images import stock
from benchmarks.images.ours import SMALL, Project
from benchmarks.images.place import REPOSITORY, Place, copy_model, make_base, run

BUMPED = ("tqdm", "4.67.1")
"""Another version of a package than the one that we pin, for the image of a task."""
_TORCHS_INDEX = ("--extra-index-url", "https://download.pytorch.org/whl/cpu")


def prepare(place: Place, *, with_stock: bool) -> None:
    """Have the bases, all wheels in one folder, and uv's caches warm. Does nothing when it was done before."""
    make_base(place)
    if with_stock:
        stock.make_base()
    wheels = place.wheels
    if wheels is None or wheels.exists():
        return
    print("fetching packages", flush=True)
    partial = place.kept / f"{wheels.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, requirements in _resolved(place).items():
        (partial / f"{name}.txt").write_text(_without_hashes(requirements), encoding="utf-8")
        _download(partial, "--require-hashes", "--requirement", _file(place, requirements))
    constraints = ("--constraint", REPOSITORY / "infra" / "requirements" / "constraints.txt")
    _download(partial, *constraints, "uv")
    _download(partial, "==".join(BUMPED))
    partial.rename(wheels)
    if with_stock:
        with stock.stock(place) as other:
            other.write(place.scratch / "warm", "Warm", copy_model(place.scratch / "warm-model"))
            other.containerize(place.scratch / "warm", "Warm")


def _resolved(place: Place) -> dict[str, str]:
    """A requirements.txt with hashes for each kind of image, as a build by the machine's own index chooses them."""
    unaided = replace(place, cache=place.scratch / "unaided-cache")
    model = copy_model(place.scratch / "unaided-model")
    project = Project.make(unaided, place.scratch / "unaided", SMALL.read_text(encoding="utf-8"), model)
    project.build()
    lock = tomllib.loads((project.folder / "model-compose.lock").read_text(encoding="utf-8"))
    return {
        name.partition(" ")[0].partition("-")[0]: "".join(
            f"{package}{''.join(f' --hash=sha256:{value}' for value in hashes)}\n"
            for package, hashes in group["wheels"].items()
        )
        for name, group in lock["packages"].items()
    }


def _without_hashes(requirements: str) -> str:
    return "".join(f"{line.partition(' ')[0]}\n" for line in requirements.splitlines())


def _file(place: Place, text: str) -> Path:
    path = place.scratch / "requirements.txt"
    path.write_text(text, encoding="utf-8")
    return path


def _download(folder: Path, *what: str | Path) -> None:
    """By pip, from where this machine gets its packages; torch's build for processors also from torch's own index."""
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *what)
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0:
        run(*command, *_TORCHS_INDEX, cwd=folder)
