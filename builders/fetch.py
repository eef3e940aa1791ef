"""The step before a task's first start: brings its model to this disk and says meanwhile how far it is."""

import argparse
import os
import signal
from pathlib import Path
from typing import NoReturn

from builders.convert import convert
from builders.download import choose, download
from builders.hub import hub_of
from builders.hub_cache import hub_cache, own_cache
from builders.hub_errors import disk_explained
from builders.progress import Progress, print_error
from infra.errors import UserError
from infra.locks import only_one
from services.process import tie_to_parent


class _TerminatedError(BaseException):
    """SIGTERM came; what is half done is cleared away on the way out."""


def run(options: argparse.Namespace) -> int:
    """Carry out `python -m builders.weights fetch`; returns the exit status."""
    tie_to_parent(os.getppid())
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with Progress() as progress:
            if options.repository is None:
                _convert(options.name or str(options.path), options.path, options.convert_into, progress)
            else:
                _fetch(options, progress)
    except UserError as error:
        print_error(error)
        return int(error.exit_code)
    except _TerminatedError:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    return 0


def _terminate(*_: object) -> NoReturn:
    raise _TerminatedError


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
