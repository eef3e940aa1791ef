"""Runs every benchmark of this folder, one after the other: `python -m benchmarks [arguments for each]`.

Those that can are run beside the incumbent, where benchmarks/.peers has it.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.peers import environments

FOLDER = Path(__file__).parent
MODULES = {path.stem for path in FOLDER.glob("[a-z]*.py")}
PACKAGES = {path.parent.name for path in FOLDER.glob("*/__main__.py")}
SCRIPTS = sorted((MODULES | PACKAGES) - {"document", "incumbent", "raw"})


def main() -> None:
    found = environments.find("incumbent")
    arguments = [*(["--incumbent", str(found)] if found else []), *sys.argv[1:]]
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *arguments], check=True)


if __name__ == "__main__":
    main()
