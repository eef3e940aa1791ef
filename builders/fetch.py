"""The step before a task's first start: brings its model to this disk and says meanwhile how far it is."""

import argparse
import os
from pathlib import Path

from builders.convert import convert
from builders.download import choose, download
from builders.hub import hub_of
from builders.hub_cache import hub_cache, only_one, own_cache
from builders.hub_errors import disk_explained
from builders.progress import Progress, print_error
from infra.errors import UserError
from services.process import tie_to_parent


def run(options: argparse.Namespace) -> int:
    """Carry out `python -m builders.weights fetch`; returns the exit status."""
    tie_to_parent(os.getppid())
    try:
        with Progress() as progress:
            if options.repository is None:
                _convert(options.name or str(options.path), options.path, options.convert_into, progress)
            else:
                _fetch(options, progress)
    except UserError as error:
        print_error(error)
        return int(error.exit_code)
    return 0


def _fetch(options: argparse.Namespace, progress: Progress) -> None:
    cache = hub_cache(os.environ, options.cache_dir)
    hub = hub_of(os.environ, cache)
    repository = options.repository
    with disk_explained(cache.root), only_one(cache.lock(repository)):
        listing = hub.listing(repository, options.commit or options.revision)
        wanted = choose(hub, repository, listing)
        download(hub, repository, listing.commit, wanted, progress)
        cache.remember(repository, options.revision, listing.commit)
    if options.convert_into is not None:
        _convert(repository, cache.snapshot(repository, listing.commit), options.convert_into, progress)


def _convert(model: str, folder: Path, target: Path, progress: Progress) -> None:
    lock = own_cache(os.environ) / "locks" / f"{target.name}.lock"
    with disk_explained(target.parent), only_one(lock):
        convert(model, folder, target, progress)
