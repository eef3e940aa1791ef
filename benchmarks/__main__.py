"""Runs every benchmark of this folder, one after the other: `python -m benchmarks [arguments for each]`."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = sorted({path.stem for path in Path(__file__).parent.glob("[a-z]*.py")} - {"incumbent", "raw"})


def main() -> None:
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
