"""Nothing that a supervisor started outlives it."""

import asyncio
import os
import sys
import uuid

import psutil
import pytest

from infra.net import make_socket_directory
from tests.infra.rig import IMPORTABLE, within

pytestmark = pytest.mark.server

MOMENTS = 10
LONGEST_S = 2.0


def marked(mark: str) -> list[int]:
    """The live processes whose environment bears the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("moment", range(MOMENTS))
async def test_no_child_outlives_a_supervisor_that_is_killed(moment: int) -> None:
    """From before the first child exists to after the last one is ready."""
    mark = uuid.uuid4().hex
    folder = make_socket_directory()
    (folder / "run").mkdir()
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.infra.run_supervisor", str(folder), mark, env={**os.environ, **IMPORTABLE}
    )
    assert await within(10, lambda: bool(marked(mark)))
    await asyncio.sleep(moment * 0.12)
    supervisor.kill()
    await supervisor.wait()
    assert await within(LONGEST_S, lambda: not marked(mark)), marked(mark)
