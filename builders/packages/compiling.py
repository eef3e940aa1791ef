"""Compiles what a process is known to import, with the image's kind of Python, because a start that compiles is slow.

To compile everything would take four times the space. So a smoke run (`smoke/`) lists what is imported, and the .pyc of
that are written by a fresh process that does nothing else: what stands in memory decides how bytes are written.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from builders.child import run_child
from builders.code import ImageKind
from builders.images.layout import Platform
from builders.packages import bytecode
from infra.errors import ExitCode, UserError
from services import importing
from services.engine.loading import libraries

_SMOKE = Path(__file__).parent / "smoke"
_LIBRARIES = (Path(importing.__file__), Path(libraries.__file__))
"""How a task imports what it computes with."""
_LACKING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_ERROR = re.compile(r"(?:\w+\.)*(\w+)(?::|$)")
_MOST_S = 1800.0
"""What an import may take, which takes half a minute."""
_ANSWER_S = 60.0
_ENVIRONMENT = {
    "PATH": os.defpath,
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def rules(kind: ImageKind) -> tuple[Path, ...]:
    """The files that decide what is compiled, and how."""
    smoke = _SMOKE / f"{kind}.py"
    return (Path(__file__), Path(bytecode.__file__), smoke, *(_LIBRARIES if kind == "task" else ()))


def find_python(version: str, wanted: Platform) -> Path | None:
    """An interpreter on this machine that imports packages for `wanted` and writes bytecode of `version`."""
    if sys.platform != "linux" or not Platform.of_machine(platform.machine()).serves(wanted):
        return None
    named = shutil.which(f"python{version}")
    candidates = [Path(sys.executable), *([Path(named)] if named else [])]
    return next((path for path in candidates if _version(path) == version), None)


def compile_imported(folder: Path, kind: ImageKind, python: Path, place: str) -> list[str]:
    """Write the .pyc of what a process of this kind imports from `folder`, which will lie at `place`.

    Returns their paths within it: libraries may leave other files there as they are imported, random ones among them.

    Raises UserError (exit 4) when the packages cannot be imported.
    """
    smoke = [str(_SMOKE / f"{kind}.py"), *(map(str, _LIBRARIES) if kind == "task" else ())]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="smoke-") as scratch:
        common = [str(folder.absolute()), scratch]
        listed = _run(python, ["list", *common, *smoke], scratch)
        return _run(python, ["write", *common, place], scratch, listed).splitlines()


def _version(python: Path) -> str:
    command = [str(python), "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    ended = run_child(
        command, str(python), folder=Path(tempfile.gettempdir()), environment=os.environ, most_s=_ANSWER_S
    )
    return ended.stdout.strip()


def _run(python: Path, arguments: list[str], home: str, given: str = "") -> str:
    ended = run_child(
        [str(python), "-P", "-s", "-S", bytecode.__file__, *arguments],
        "the import of the packages",
        folder=Path(home),
        environment={**_ENVIRONMENT, "HOME": home},
        most_s=_MOST_S,
        given=given,
    )
    if ended.returncode != 0:
        raise UserError(
            f"the packages of the image cannot be imported: {_reason(ended)}",
            hint="its requirements do not fit each other, or this machine is short of memory",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return ended.stdout


def _reason(ended: subprocess.CompletedProcess[str]) -> str:
    """In our words, of what Python prints as the last line when it gives up."""
    if ended.returncode < 0:
        return f"the import was ended by signal {-ended.returncode}"
    last = ended.stderr.strip().rpartition("\n")[2]
    if lacking := _LACKING.match(last):
        return f"{lacking[1]} is not among them"
    error = _ERROR.match(last)
    return f"the import ended with {error[1]}" if error else "the import failed"
