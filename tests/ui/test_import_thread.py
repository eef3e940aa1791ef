"""The thread in which the page imports Gradio, where others stand in front of it."""

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness on Linux"),
]

PROGRAM = """
import os
from concurrent.futures import ThreadPoolExecutor
from ui.app import _step_back
with ThreadPoolExecutor(1, initializer=_step_back) as executor:
    print(executor.submit(os.getpriority, os.PRIO_PROCESS, 0).result())
"""


@pytest.mark.parametrize(("before", "after"), [(0, 5), (19, 19)])
def test_it_steps_back_where_it_is_not_behind_already(before: int, after: int) -> None:
    here = os.getpriority(os.PRIO_PROCESS, 0)
    without_rights = ["setpriv", "--bounding-set=-sys_nice"] if os.geteuid() == 0 else []
    command = [*without_rights, "nice", f"--adjustment={before}", sys.executable, "-c", PROGRAM]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert int(said.stdout) == min(19, max(here + before, after))
