"""Programs that a build starts have its folder, an end, and no longer life than the build."""

import subprocess
import sys
from pathlib import Path

import pytest

from builders.child import run_child
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit


def run(program: str, folder: Path, most_s: float = 60.0, given: str = "") -> tuple[int, str]:
    command = [sys.executable, "-I", "-S", "-c", program]
    ended = run_child(command, "the child", folder=folder, environment={"A": "b"}, most_s=most_s, given=given)
    return ended.returncode, ended.stdout


def test_it_works_in_the_folder_and_has_no_other_for_what_is_temporary(tmp_path: Path) -> None:
    program = "import os, tempfile; print(os.getcwd(), tempfile.gettempdir(), os.environ['A'], input())"
    assert run(program, tmp_path, given="line") == (0, f"{tmp_path} {tmp_path} b line\n")


def test_what_is_no_text_is_no_failure(tmp_path: Path) -> None:
    assert run(r"import os; os.write(1, b'\xff'); os._exit(3)", tmp_path) == (3, "\N{REPLACEMENT CHARACTER}")


def test_what_takes_too_long_is_ended_and_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run("import time; time.sleep(600)", tmp_path, most_s=0.1)
    assert caught.value.message == "the child took more than 0.1 s and was ended"
    assert caught.value.exit_code is ExitCode.ENVIRONMENT


FORKS = """
import os, signal, sys
from pathlib import Path
from builders.child import run_child

os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGINT))
command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
try:
    run_child(command, "the child", folder=Path(sys.argv[1]), environment={}, most_s=20)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_that_comes_while_the_process_forks_is_not_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKS, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("interrupted\n", "")
