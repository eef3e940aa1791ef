"""Makes the base image: `python -m infra.base base.tar`; the file is what `--base` takes, and `docker import` too."""

import errno
import hashlib
import sys
import tempfile
from pathlib import Path

from infra.base import packages, root
from infra.errors import UserError
from infra.files import not_writable


def main(arguments: list[str]) -> int:
    """Write the archive, and print which packages are in it and its digest; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m infra.base FILE.tar\n")
        return 2
    target = Path(arguments[0])
    try:
        _probe(target)  # before minutes of fetching, for a place that nobody may write to
        with tempfile.TemporaryDirectory(prefix="model-compose-base-") as folder:
            tree = root.read(packages.fetch(Path(folder) / "apt"))
            archive = root.packed({**tree, **root.compiled(tree, Path(folder) / "root")})
        _write(target, archive)
    except UserError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        return error.exit_code
    for name, version in sorted(root.versions(tree).items()):
        sys.stdout.write(f"{name} {version}\n")
    sys.stdout.write(f"{target} {len(archive) / 1e6:.1f} MB sha256:{hashlib.sha256(archive).hexdigest()}\n")
    return 0


def _probe(target: Path) -> None:
    """Raises UserError where no file can be."""
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise not_writable(target, error) from None


def _write(target: Path, content: bytes) -> None:
    """Raises UserError, and leaves nothing then."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise not_writable(target, error) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
