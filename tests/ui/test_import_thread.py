"""The page imports Gradio behind others that start, and without what Gradio does for editors then."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.server

PROGRAM = """
import os
from concurrent.futures import ThreadPoolExecutor
from ui.app import _step_back
with ThreadPoolExecutor(1, initializer=_step_back) as executor:
    print(executor.submit(os.getpriority, os.PRIO_PROCESS, 0).result())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness on Linux")
@pytest.mark.parametrize(("before", "after"), [(0, 5), (19, 19)])
def test_it_steps_back_where_it_is_not_behind_already(before: int, after: int) -> None:
    here = os.getpriority(os.PRIO_PROCESS, 0)
    without_rights = ["setpriv", "--bounding-set=-sys_nice"] if os.geteuid() == 0 else []
    command = [*without_rights, "nice", f"--adjustment={before}", sys.executable, "-c", PROGRAM]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert int(said.stdout) == min(19, max(here + before, after))


DESCRIBED = """
import sys
described = []
def notice(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".pyi"):
        described.append(arguments[0])
sys.addaudithook(notice)
from ui.app import _import_page
_import_page()
import gradio
from gradio import component_meta
component_meta.create_or_modify_pyi(gradio.Textbox, "Textbox", events=[], of_a_version="to come")
print(callable(gradio.Textbox.submit), described)
"""


def test_no_file_for_editors_is_read_or_written() -> None:
    said = subprocess.run([sys.executable, "-c", DESCRIBED], check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout == "True []\n"
