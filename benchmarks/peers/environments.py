"""Makes the peers' virtual environments in benchmarks/.peers: `python -m benchmarks.peers.environments [NAME ...]`.

Each is named after its file in requirements/ and made anew when that file has changed. llama-cpp-python is compiled,
which wants a C++ compiler and several minutes; a peer that cannot be installed is told and left out.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".peers"
REQUIREMENTS = Path(__file__).parent / "requirements"
NAMES = sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))
_MARK = "installed.txt"


def find(name: str) -> Path | None:
    """The environment, when it holds what its requirements say now."""
    mark = FOLDER / name / _MARK
    wanted = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    return mark.parent if mark.is_file() and mark.read_text(encoding="utf-8") == wanted else None


def make(name: str) -> None:
    """Install it, from nothing; raises CalledProcessError."""
    folder, requirements = FOLDER / name, REQUIREMENTS / f"{name}.txt"
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--progress-bar", "off"]
    building = {**os.environ, "CMAKE_ARGS": "-DLLAVA_BUILD=OFF"}  # llama-cpp-python without what reads pictures
    subprocess.run([*command, "--requirement", requirements], check=True, env=building)
    shutil.copyfile(requirements, folder / _MARK)


def main() -> None:
    parser = argparse.ArgumentParser(description="Install the tools that we are measured beside.")
    parser.add_argument("name", nargs="*", choices=[*NAMES, []], help="only these (default: all)")
    for name in parser.parse_args().name or NAMES:
        if find(name):
            print(f"{name} is there", flush=True)
            continue
        print(f"{name} is being installed", flush=True)
        try:
            make(name)
        except subprocess.CalledProcessError as error:
            print(f"{name} could not be installed: pip ended with {error.returncode}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
