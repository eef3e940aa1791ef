"""Runs uv, and says in our words why it failed."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from builders.child import run_child
from builders.packages.sources import Sources
from builders.packages.wanted import CPU_LABEL, Wanted, torch_version
from infra.errors import ExitCode, UserError

_MOST_S = 4 * 3600.0
"""What the largest packages take over a slow line; uv itself gives up what stalls."""
_TORCHS_INDEX = ["--torch-backend", "cpu"]
_ELSEWHERE = "name another index with --index-url, or a folder of wheels with --wheels"

_NAME = r"([A-Za-z0-9](?:[\w.-]*\w)?)"
_VERSIONS = r"([=<>!~][^\s,]*(?:,[=<>!~][^\s,]*)*)?"
_NO_WHEEL = re.compile(rf"{_NAME}{_VERSIONS} has no (?:usable )?wheels")
_NO_VERSION = re.compile(rf"there (?:is|are) no versions? of {_NAME}{_VERSIONS}")
_NOT_FOUND = re.compile(rf"{_NAME} was not found in the (?:package registry|provided package locations)")
_NO_INDEX = re.compile(r"Failed to (?:fetch|download)|error sending request|Network connectivity is disabled")
_REFUSED = re.compile(r"\b(?:401 Unauthorized|403 Forbidden)")
_BAD_HASH = re.compile(r"Hash mismatch for `([^`]+)`")
_NO_SPACE = re.compile(r"os error (?:28|122)\b")


def run_uv(
    arguments: Sequence[str],
    files: Mapping[str, str],
    wanted: Wanted,
    sources: Sources,
    environ: Mapping[str, str],
    scratch: Path,
) -> Mapping[str, str]:
    """Run `uv pip ARGUMENTS` in a fresh folder below `scratch`, which exists, that holds `files`, by name.

    Returns what the folder holds afterwards.

    The CPU build of torch is taken from where the machine gets its packages, and if it is not there, from torch's own
    index. Raises UserError: exit 4.
    """
    environment = sources.environment(environ, scratch)
    common = [
        *("--python-version", wanted.python, "--python-platform", wanted.tag, "--only-binary", ":all:", "--quiet"),
        *(["--no-index"] if sources.closed else []),
    ]
    backends = [[], _TORCHS_INDEX] if wanted.torch == "cpu" and not sources.closed else [[]]
    said = ""
    for backend in backends:
        with tempfile.TemporaryDirectory(dir=scratch, prefix="uv-") as name:
            folder = Path(name)
            for file, text in files.items():
                (folder / file).write_text(text, encoding="utf-8")
            (folder / "uv.toml").touch()  # uv looks no further, for that of a project around it; the user's own counts
            said = _run([*arguments, *common, *backend], folder, environment)
            if not said:
                return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.is_file()}
        if backend == _TORCHS_INDEX and _NO_INDEX.search(said):
            raise _error(
                f"the package index has no torch {torch_version()}{CPU_LABEL} for {_place(wanted)}, "
                "and torch's own index cannot be reached",
                _ELSEWHERE,
            )
        if not _lacks_torch(said):
            break
    raise explained(said, wanted, sources)


def _run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """What uv complained about; empty when it ended well."""
    from uv import find_uv_bin

    command = [find_uv_bin(), "pip", *arguments]
    ended = run_child(command, "uv", folder=folder, environment=environment, most_s=_MOST_S)
    return ended.stderr.strip() or f"exit status {ended.returncode}" if ended.returncode != 0 else ""


def _lacks_torch(said: str) -> bool:
    lacking = [*_NO_VERSION.finditer(said), *_NOT_FOUND.finditer(said), *_NO_WHEEL.finditer(said)]
    return any(match[1] == "torch" for match in lacking)


def explained(said: str, wanted: Wanted, sources: Sources) -> UserError:
    """The error for what uv said; nothing of it is repeated but names and versions, since addresses hold passwords."""
    place = _place(wanted)
    where = f"in {sources.wheels}" if sources.closed else "in the package index"
    if found := _NO_WHEEL.search(said):
        return _error(
            f"{_named(found)} has no wheel for {place}, and nothing is compiled while an image is built",
            "choose another Python with --base, or build its wheel and name the folder of wheels with --wheels",
        )
    if found := _BAD_HASH.search(said):
        return _error(
            f"{found[1]} is not what its hash says: another file came under its name",
            "ask who runs that index; when the change is meant, remove model-compose.lock and build again",
        )
    if _REFUSED.search(said):
        return _error(
            "the package index refuses us: its user name and password are missing or wrong",
            "put them where pip or uv reads them, or name another index with --index-url",
        )
    if _NO_SPACE.search(said):
        return _error("the disk is full: the packages cannot be installed", "free some space and build again")
    if found := _NO_VERSION.search(said) or _NOT_FOUND.search(said):
        return _error(f"there is no {_named(found)} for {place} {where}", _ELSEWHERE)
    if _NO_INDEX.search(said):
        return _error("the package index cannot be reached", _ELSEWHERE)
    return _error(
        "the packages of the image could not be chosen or installed", "`uv pip compile` and `uv pip check` tell more"
    )


def _place(wanted: Wanted) -> str:
    return f"Python {wanted.python} on {wanted.platform}"


def _named(found: re.Match[str]) -> str:
    versions = found[2] if len(found.groups()) > 1 else None
    return f"{found[1]} {versions.removeprefix('==')}" if versions else found[1]


def _error(message: str, hint: str) -> UserError:
    return UserError(message, hint=hint, exit_code=ExitCode.ENVIRONMENT)
