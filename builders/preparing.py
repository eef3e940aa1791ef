"""Brings a model to this disk before its weights are baked: the download or conversion that its resolution names."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from builders.weights import Resolved
from infra.errors import ExitCode, UserError
from infra.process import child_environment


def prepare(model: Resolved, name: str, on_progress: Callable[[str, float | None], None], scratch: Path) -> None:
    """Carry out `model.prepare`, in the one process that is given a token; returns when the model is there.

    name: how messages call it. on_progress: the stage (`downloading`, `loading`) and how far it is, 0 to 1.
    scratch: a folder to work in.
    Raises UserError with what the child says.
    """
    if model.prepare is None:
        return
    error: Mapping[str, Any] = {}
    environment = child_environment(os.environ, model.prepare_environment)
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix="model-") as empty,
        subprocess.Popen(  # noqa: S603 - a module of ours, and arguments that we chose
            [sys.executable, "-P", "-m", *model.prepare],
            env=environment,
            cwd=empty,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                told = _read(line)
                error = told.get("error") or error
                if "stage" in told:
                    on_progress(told["stage"], told.get("progress"))
        except BaseException:
            child.terminate()
            raise
    if child.returncode != 0:
        known = child.returncode in (ExitCode.FILE, ExitCode.ENVIRONMENT)
        raise UserError(
            error.get("message") or f"{name} could not be fetched: its process ended with {child.returncode}",
            hint=error.get("hint"),
            exit_code=ExitCode(child.returncode) if known else ExitCode.FAILED,
        )


def _read(line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
