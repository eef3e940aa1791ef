"""A podman of the tests' own, and what a machine without it does."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.skipping import skip

SCRIPT = Path(__file__).parents[2] / "infra" / "engine" / "podman"
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Podman:
    """Runs the command with everything stored in `folder`."""

    folder: Path

    def run(self, *arguments: str, given: str | None = None, timeout_s: float = _TIMEOUT_S) -> str:
        """What it prints. Raises CalledProcessError, with what it says in a note."""
        ended = subprocess.run(
            [SCRIPT, "run", *arguments],
            env={**os.environ, "PODMAN_FOLDER": str(self.folder)},
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        try:
            ended.check_returncode()
        except subprocess.CalledProcessError as error:
            error.add_note(ended.stderr)
            raise
        return ended.stdout.strip()

    def inspect(self, container: str) -> dict[str, Any]:
        """A container as podman sees it."""
        found: dict[str, Any] = json.loads(self.run("container", "inspect", container))[0]
        return found


def podman_in(folder: Path) -> Podman:
    """Skips the test where there is no podman, or none that may run pods."""
    if os.geteuid() != 0 or shutil.which("podman") is None:
        skip("no podman: it takes root, and as root `infra/engine/podman install`")
    return Podman(folder)
