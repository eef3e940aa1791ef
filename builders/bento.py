"""Makes a task's Bento with BentoML's own build: equal bytes for equal tasks, wherever and whenever it is built."""

import errno
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Final

from builders import bento_child
from builders.child import run_child
from builders.code import Code
from infra.errors import ExitCode, UserError
from services.service import service_name
from services.settings import TaskSettings

SERVICE_FILE: Final = "service.py"
SETTINGS_FILE: Final = "task.json"
SERVICE: Final = '''"""The task that task.json beside this file describes, as a BentoML service."""

from pathlib import Path

from services.service import make_service
from services.settings import TaskSettings

service = make_service(TaskSettings.model_validate_json(Path(__file__).with_name("task.json").read_text()))
'''

_MOST_S: Final = 600.0
"""What a build may take, which takes seconds."""
_EPOCH: Final = "1970-01-01T00:00:00+00:00"
_CREATION_TIME = re.compile(r"^(\s*creation_time:).*$", re.MULTILINE)


@dataclass(frozen=True)
class BentoInputs:
    """Everything that a Bento is made of.

    settings: those that the service reads; `model_path` is where the weights will be when it runs.
    packages: PEP 508, what the Bento's requirements.txt says; nothing is looked up. python_version: such as `3.11`.
    """

    settings: TaskSettings
    code: Code
    packages: tuple[str, ...]
    python_version: str

    @property
    def name(self) -> str:
        return service_name(self.settings.id)

    @cached_property
    def version(self) -> str:
        """A digest of all of it, and of the BentoML that builds; as short as a tag may be read."""
        parts = {
            "settings": settings_text(self.settings),
            "service": SERVICE,
            "code": self.code.digest,
            "packages": self.packages,
            "python": self.python_version,
            "bentoml": version("bentoml"),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def make_bento(inputs: BentoInputs, target: Path) -> None:
    """Make the Bento in the folder `target`, which does not exist yet. Raises UserError.

    BentoML copies whatever it finds beside the service and runs the service's module: so it is given a folder with
    nothing else in it, a store of its own, and no secret. All of it lies beside `target` meanwhile. OSError where that
    disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="bento-") as scratch:
        stage, home = Path(scratch, "stage"), Path(scratch, "home")
        home.mkdir()
        _stage(inputs, stage)
        made = _run(inputs, stage, home)
        _normalise(made)
        made.rename(target)


def _stage(inputs: BentoInputs, stage: Path) -> None:
    for name, content in inputs.code.files.items():
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_bytes(content)
    (stage / SERVICE_FILE).write_text(SERVICE, encoding="utf-8")
    (stage / SETTINGS_FILE).write_text(settings_text(inputs.settings), encoding="utf-8")


def settings_text(settings: TaskSettings) -> str:
    """What stands in task.json: only what differs from the defaults, so that a new setting changes no image."""
    return json.dumps(settings.model_dump(mode="json", exclude_defaults=True), indent=2, ensure_ascii=False) + "\n"


def _run(inputs: BentoInputs, stage: Path, home: Path) -> Path:
    options = {
        "name": inputs.name,
        "version": inputs.version,
        "include": [SERVICE_FILE, SETTINGS_FILE, *_patterns(inputs.code)],
        "packages": list(inputs.packages),
        "python_version": inputs.python_version,
    }
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONUTF8": "1",
    }
    ended = run_child(
        [sys.executable, "-I", "-X", "utf8", bento_child.__file__, str(stage)],
        f"BentoML's build of {inputs.name}",
        folder=home,
        environment=environment,
        most_s=_MOST_S,
        given=json.dumps(options),
    )
    if ended.returncode != 0 and os.strerror(errno.ENOSPC) in ended.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if ended.returncode != 0:
        raise UserError(
            f"BentoML could not build {inputs.name}: its process ended with {ended.returncode}",
            hint="`python -m pip check` tells whether the packages that are installed here fit each other",
            exit_code=ExitCode.FAILED,
        )
    return Path(ended.stdout.splitlines()[-1])


def _patterns(code: Code) -> Sequence[str]:
    return sorted({f"{name.partition('/')[0]}/" for name in code.files})


def _normalise(bento: Path) -> None:
    """Take out the one thing that differs between two builds of the same: the time."""
    path = bento / "bento.yaml"
    path.write_text(_CREATION_TIME.sub(rf"\1 '{_EPOCH}'", path.read_text(encoding="utf-8")), encoding="utf-8")
