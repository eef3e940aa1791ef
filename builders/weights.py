"""Finds the model that a file names: in the user's cache, or what it takes to bring it there.

`python -m builders.weights fetch ...` is that step: it prints JSON lines of progress, at last `{"error": ...}` and exit
status 3 or 4 when it failed.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from builders.hub_cache import (
    HubCache,
    LocalModel,
    converted_folder,
    hub_cache,
    inspect_folder,
    missing_step,
    shard_files,
)
from builders.model_config import check_fit
from builders.model_files import CONFIG, companions_of, is_pickle, no_weights
from infra.errors import ExitCode, UserError
from infra.space import require_space
from services.catalog import TASKS

_PREPARE = ("builders.weights", "fetch")
_HUB_VARIABLE = re.compile(
    r"HF_|HUGGING|(TRANSFORMERS_OFFLINE|XDG_CACHE_HOME|SSL_CERT_FILE|SSL_CERT_DIR|(HTTPS?|ALL|NO)_PROXY)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a file says that a model is: `repository` on the hub, or `path` on this machine; one of the two."""

    repository: str | None = None
    path: Path | None = None
    revision: str | None = None
    token: str | None = None
    cache_dir: Path | None = None
    local_files_only: bool = False

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.repository or str(self.path)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A model that exists and fits its task.

    path: the folder to load from; it is there once `prepare` has run, now when that is None.
    revision: the commit; None for a folder of the user's.
    prepare: module and arguments for Unit.prepare, None when nothing is missing.
    prepare_environment: what `prepare` needs of the environment; the only place where a token stands.
    bytes_to_fetch: what comes over the network, 0 when only a conversion is left to do.
    config: config.json. weights: name and size of the files that `prepare` fetches or converts.
    unlisted: whether an image may lack files of this commit, because the hub could not be asked which there are.
    """

    path: Path
    revision: str | None
    config: Mapping[str, Any]
    prepare: tuple[str, ...] | None = None
    prepare_environment: Mapping[str, str] = field(default_factory=dict)
    bytes_to_fetch: int = 0
    weights: Mapping[str, int] = field(default_factory=dict)
    unlisted: bool = False

    @property
    def converts(self) -> bool:
        """Whether safetensors will be made of what is there or is fetched."""
        return self.prepare is not None and "--convert-into" in self.prepare


@dataclass(frozen=True, slots=True)
class _Use:
    """What a model is wanted for. labels: how many classes the file gives names to; None: none."""

    task: str
    labels: int | None

    @property
    def embeds(self) -> bool:
        return TASKS[self.task].network == "embedding"

    def check(self, config: Mapping[str, Any], model: str) -> None:
        """Raises UserError (exit 3) for a model that does not fit."""
        check_fit(config, model=model, task=self.task, labels=self.labels)


def resolve(
    source: ModelSource,
    *,
    task: str,
    environ: Mapping[str, str],
    labels: int | None = None,
    baked: Collection[str] | None = None,
) -> Resolved:
    """Find the model; ask the hub only for what the cache does not tell.

    A whole snapshot in the cache is used as it is, without asking whether a branch has moved on: a start is then quick,
    works without network, and runs today what ran yesterday. `hf download` or another `revision` bring what is new.
    Otherwise the commit, the sizes, config.json and an index of weights are asked for: some hundred kilobytes.

    For vectors, other tools may have left out the files that say how to pool: the hub is asked once whether it has
    them, and where it does not answer, the snapshot is used as it is.

    An image is to hold the same files of a commit wherever it is built, whatever other tools have fetched of it.

    labels: how many classes the file gives names to; None: none. baked: the files of a model of the hub that an image
    is to hold; empty: those that the hub lists, or where it does not answer, those that are here. None: for no image.

    Raises UserError: exit 4 for the hub (no such model, gated, no network) and the disk, exit 3 for a model that does
    not fit `task` or that we cannot load.
    """
    use = _Use(task, labels)
    if source.path is not None:
        return _resolve_folder(source.path, use, environ)
    repository, revision = _checked_names(source)
    cache = hub_cache(environ, source.cache_dir)
    commit = cache.commit(repository, revision)
    if commit is not None and (found := _in_cache(cache, repository, commit, use, environ)):
        if baked is not None:
            return _for_image(source, repository, commit, cache, use, environ, found, companions_of(baked))
        return _with_steps(source, repository, commit, cache, use, environ, found) if use.embeds else found
    return _on_hub(source, repository, revision, cache, use, environ)


def _checked_names(source: ModelSource) -> tuple[str, str]:
    """Repository and revision; both become parts of paths."""
    repository, revision = source.repository or "", source.revision or "main"
    part = r"\w(?:[\w.-]*\w)?"
    if not re.fullmatch(f"{part}(/{part})?", repository, re.ASCII) or ".." in repository or "--" in repository:
        raise UserError(
            f"{repository!r} is not the name of a model on the hub",
            hint="write OWNER/NAME, such as HuggingFaceTB/SmolLM3-3B, or a path that begins with ./ or /",
            exit_code=ExitCode.FILE,
        )
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", revision, re.ASCII) or ".." in revision:
        raise UserError(
            f"{revision!r} is not a branch, tag or commit",
            hint="leave `revision` out for the newest",
            exit_code=ExitCode.FILE,
        )
    return repository, revision


def _resolve_folder(path: Path, use: _Use, environ: Mapping[str, str]) -> Resolved:
    folder = path.expanduser().absolute()
    if not folder.is_dir():
        raise UserError(
            f"{path} is a file, not a folder" if folder.is_file() else f"there is no folder {path}",
            hint="a model on this machine is a folder with config.json and the weights; OWNER/NAME is one on the hub",
            exit_code=ExitCode.FILE,
        )
    model = inspect_folder(folder)
    if model.config is None or model.weights is None:
        raise no_weights(str(path), model.names)
    use.check(model.config, str(path))
    if model.missing is not None:
        raise UserError(
            f"{path} is not a whole model: {model.missing} is absent or broken",
            hint="copy or download it again",
            exit_code=ExitCode.FILE,
        )
    if not model.needs_conversion:
        return Resolved(folder, None, model.config)
    converted = _converted_from_folder(folder, model, environ)
    if inspect_folder(converted).missing is None:
        return Resolved(converted, None, model.config)
    return _to_convert(folder, model, converted, None, environ, ())


def _converted_from_folder(folder: Path, model: LocalModel, environ: Mapping[str, str]) -> Path:
    """Where this folder's conversion belongs; another place after any of its files has changed."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for name in sorted(model.names):
        state = (folder / name).stat()
        digest.update(f"\n{name} {state.st_size} {state.st_mtime_ns}".encode())
    return converted_folder(environ, f"local/{folder.name}", digest.hexdigest()[:40])


def _in_cache(cache: HubCache, repository: str, commit: str, use: _Use, environ: Mapping[str, str]) -> Resolved | None:
    """The model as far as it is on this disk; None when a part of it is missing."""
    converted = converted_folder(environ, repository, commit)
    model = inspect_folder(converted)
    if model.config is not None and model.missing is None:
        use.check(model.config, repository)
        return Resolved(converted, commit, model.config)
    snapshot = cache.snapshot(repository, commit)
    model = inspect_folder(snapshot)
    if model.config is None or not model.is_complete:
        return None
    use.check(model.config, repository)
    if not model.needs_conversion:
        return Resolved(snapshot, commit, model.config)
    return _to_convert(snapshot, model, converted, commit, environ, ("--name", repository))


def _to_convert(
    folder: Path,
    model: LocalModel,
    converted: Path,
    commit: str | None,
    environ: Mapping[str, str],
    more: tuple[str, ...],
) -> Resolved:
    """A model that is whole in `folder`, and pickled."""
    weights = {path.name: path.stat().st_size for path in shard_files(folder)}
    arguments = ("--path", str(folder), "--convert-into", str(converted), *more)
    prepare = (*_PREPARE, *arguments)
    return Resolved(converted, commit, model.config or {}, prepare, _environment(environ, None), 0, weights)


def _with_steps(
    source: ModelSource,
    repository: str,
    commit: str,
    cache: HubCache,
    use: _Use,
    environ: Mapping[str, str],
    found: Resolved,
) -> Resolved:
    """The model that was found, or what brings its steps behind the network, which other tools do not fetch."""
    name = missing_step(cache.snapshot(repository, commit) if found.converts else found.path)
    if name is None or cache.is_absent(repository, commit, name):
        return found
    from builders.hub import hub_of, is_offline

    if source.local_files_only or is_offline(environ):
        return found
    try:
        if name in hub_of(environ, cache, source.token).listing(repository, commit).files:
            return _on_hub(source, repository, commit, cache, use, environ)
    except UserError as error:
        if error.exit_code is ExitCode.ENVIRONMENT:  # what is here can be served without the hub
            return found
        raise
    cache.remember_absent(repository, commit, name)
    return found


def _for_image(
    source: ModelSource,
    repository: str,
    commit: str,
    cache: HubCache,
    use: _Use,
    environ: Mapping[str, str],
    found: Resolved,
    baked: Collection[str],
) -> Resolved:
    """The model that was found, or what brings the files beside its weights that are absent. baked: see `resolve`."""
    here = inspect_folder(cache.snapshot(repository, commit) if found.converts else found.path).names
    if baked and here.issuperset(baked):
        return found
    from builders.hub import hub_of, is_offline

    if not baked:
        if source.local_files_only or is_offline(environ):
            return replace(found, unlisted=True)
        try:
            listed = hub_of(environ, cache, source.token).listing(repository, commit).files
        except UserError as error:
            if error.exit_code is ExitCode.ENVIRONMENT:
                return replace(found, unlisted=True)
            raise
        if here.issuperset(companions_of(listed)):
            return found
    return _on_hub(source, repository, commit, cache, use, environ)


def _on_hub(
    source: ModelSource, repository: str, revision: str, cache: HubCache, use: _Use, environ: Mapping[str, str]
) -> Resolved:
    from builders.download import choose, missing_bytes
    from builders.hub import hub_of, is_offline
    from builders.hub_errors import LARGER_DISK, offline

    if source.local_files_only or is_offline(environ):
        raise offline(repository, "`local_files_only` is set" if source.local_files_only else "HF_HUB_OFFLINE is set")
    hub = hub_of(environ, cache, source.token)
    listing = hub.listing(repository, revision)
    commit = listing.commit
    wanted = choose(hub, repository, listing)
    hub.into_snapshot(repository, commit, CONFIG)
    snapshot = cache.snapshot(repository, commit)
    config = inspect_folder(snapshot).config or {}
    use.check(config, repository)
    size_bytes = missing_bytes(hub, repository, commit, wanted)
    require_space(cache.root, size_bytes, LARGER_DISK)
    arguments = ["--repository", repository, "--commit", commit, "--revision", revision, "--cache-dir", str(cache.root)]
    path = snapshot
    if is_pickle(wanted.weights):
        path = converted_folder(environ, repository, commit)
        require_space(path, wanted.shards_bytes, LARGER_DISK)
        arguments += ["--convert-into", str(path)]
    environment = _environment(environ, source.token)
    weights = {file.name: file.size_bytes for file in wanted.shards}
    return Resolved(path, commit, config, (*_PREPARE, *arguments), environment, size_bytes, weights)


def _environment(environ: Mapping[str, str], token: str | None) -> dict[str, str]:
    """What tells a child where the caches, the hub and the way to it are, and who asks."""
    variables = {name: value for name, value in environ.items() if _HUB_VARIABLE.match(name)}
    return {**variables, **({"HF_TOKEN": token} if token else {})}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of the module; returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {_PREPARE[0]}", allow_abbrev=False)
    fetch = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "fetch", help="bring a model into the cache, or convert one that is there"
    )
    what = fetch.add_mutually_exclusive_group(required=True)
    what.add_argument("--repository", metavar="OWNER/NAME")
    what.add_argument("--path", type=Path, help="a folder with pickled weights, to be converted")
    fetch.add_argument("--commit", help="the full name of the commit; else what --revision stands for now")
    fetch.add_argument("--revision", default="main", help="the branch or tag that the cache will know it by")
    fetch.add_argument("--cache-dir", type=Path, help="a cache of huggingface_hub's; else the user's own")
    fetch.add_argument("--convert-into", type=Path, metavar="FOLDER", help="where its safetensors belong")
    fetch.add_argument("--name", help="how messages call the model of --path")
    options = parser.parse_args(argv)

    from builders import fetch as steps

    return steps.run(options)


if __name__ == "__main__":
    sys.exit(main())
