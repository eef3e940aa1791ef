"""Makes the base image: `python -m infra.base base.tar`; the file is what `--base` takes, and `docker import` too."""

import hashlib
import sys
import tempfile
from pathlib import Path

from infra.base import packages, root
from infra.errors import UserError


def main(arguments: list[str]) -> int:
    """Write the archive, and print which packages are in it and its digest; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m infra.base FILE.tar\n")
        return 2
    target = Path(arguments[0])
    try:
        with tempfile.TemporaryDirectory(prefix="model-compose-base-") as folder:
            tree = root.read(packages.fetch(Path(folder) / "apt"))
            archive = root.packed({**tree, **root.compiled(tree, Path(folder) / "root")})
    except UserError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        return error.exit_code
    partial = target.with_name(f".{target.name}.partial")
    partial.write_bytes(archive)
    partial.replace(target)
    for name, version in sorted(root.versions(tree).items()):
        sys.stdout.write(f"{name} {version}\n")
    sys.stdout.write(f"{target} {len(archive) / 1e6:.1f} MB sha256:{hashlib.sha256(archive).hexdigest()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
