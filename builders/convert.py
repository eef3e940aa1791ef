"""Makes a model folder with safetensors out of one with pickles, whole or not at all."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builders import unpickle
from builders.hub_cache import inspect_folder
from builders.hub_errors import LARGER_DISK
from builders.model_files import PICKLE_INDEX, SAFETENSORS_INDEX, companions_of, shards_of
from builders.progress import Progress
from infra.errors import ExitCode, UserError
from infra.space import require_space

_REFUSALS = {
    "unsafe": "its pickled weights are not plain tensors, and reading them in full could run code",
    "empty": "its pickled weights hold no tensors under names",
    "broken": "its pickled weights cannot be read; they are damaged, or not torch's",
}


def convert(model: str, source: Path, target: Path, progress: Progress) -> None:
    """Have the model of `source` in `target`, as safetensors; when it is there already, nothing is done.

    The files beside the weights are linked, or copied where the disk differs. `target` appears in one step.
    Raises UserError: exit 3 when the weights are refused, 4 when the disk is too small.
    """
    companions = companions_of(inspect_folder(source).names)
    if inspect_folder(target).missing is None:
        for name in companions:  # one may have come since
            if not (target / name).is_file():
                _link(source / name, target / name)
        return
    inputs = _pickles(source)
    total_bytes = sum(path.stat().st_size for path in inputs)
    require_space(target, total_bytes + total_bytes // 10, LARGER_DISK)
    progress.begin("loading", total_bytes)
    with _appearing(target) as folder:
        shards = _unpickled(model, inputs, folder, progress)
        if len(shards) > 1:
            (folder / SAFETENSORS_INDEX).write_text(json.dumps(_index(shards), indent=2), encoding="utf-8")
        for name in companions:
            _link(source / name, folder / name)


def _pickles(source: Path) -> list[Path]:
    index = source / PICKLE_INDEX
    weights = inspect_folder(source).weights
    names = shards_of(index.read_text(encoding="utf-8"), PICKLE_INDEX) if weights == PICKLE_INDEX else (str(weights),)
    # Resolved, because the hub's cache holds links, and the child has no business in the cache's own folders.
    return [(source / name).resolve() for name in names]


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends well, and vanishes when it does not.

    Left by a process that was killed, it vanishes on the next call; the caller lets only one process in.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield folder
        folder.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpickled(model: str, inputs: list[Path], folder: Path, progress: Progress) -> dict[str, dict[str, int]]:
    """Run the child; its shards, with the tensors in each and their bytes."""
    command = [sys.executable, "-I", unpickle.__file__, str(folder), *map(str, inputs)]
    shards: dict[str, dict[str, int]] = {}
    refusal = None
    # Standard input is a pipe that nobody writes to: the child ends when it breaks.
    with subprocess.Popen(  # noqa: S603 - our own script, and files that we chose
        command, cwd=folder, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        for line in map(json.loads, child.stdout):
            if "shard" in line:
                shards[line["shard"]] = line["tensors"]
                progress.add(inputs[len(shards) - 1].stat().st_size)
            refusal = line.get("refused")
    if refusal is not None:
        raise _refused(model, _REFUSALS[refusal])
    if child.returncode != 0 or len(shards) != len(inputs):
        raise UserError(
            f"the pickled weights of {model} could not be converted: the converter ended with {child.returncode}",
            hint=f"it needs memory for the largest file of them, and as much disk as all of them in {folder.parent}",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return shards


def _index(shards: dict[str, dict[str, int]]) -> dict[str, Any]:
    return {
        "metadata": {"total_size": sum(sum(tensors.values()) for tensors in shards.values())},
        "weight_map": {tensor: shard for shard, tensors in sorted(shards.items()) for tensor in tensors},
    }


def _link(source: Path, target: Path) -> None:
    """A hard link survives when the hub's cache is pruned, and costs nothing."""
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _refused(model: str, reason: str) -> UserError:
    return UserError(
        f"{model} is refused: {reason}",
        hint="choose a repository with model.safetensors, or a revision that has it",
        exit_code=ExitCode.FILE,
    )
