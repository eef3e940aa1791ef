"""Runs every benchmark of this folder, one after the other: `python -m benchmarks [arguments for each]`."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
MODULES = {path.stem for path in FOLDER.glob("[a-z]*.py")}
PACKAGES = {path.parent.name for path in FOLDER.glob("*/__main__.py")}
SCRIPTS = sorted((MODULES | PACKAGES) - {"incumbent", "raw"})


def main() -> None:
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
