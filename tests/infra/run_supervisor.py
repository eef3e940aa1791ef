"""A supervisor in a process of its own, for tests that kill it; its arguments: a folder, a mark for its children."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from infra.folder import RunFolder
from infra.processes import bind
from infra.supervisor import supervise
from tests.infra.rig import Recorder, fake_unit


async def main(folder: Path, mark: str) -> None:
    units = [
        replace(unit, environment={**unit.environment, "TEST_MARK": mark})
        for unit in (
            fake_unit("chat", folder, import_s=0.4),
            fake_unit("heavy", folder, import_s=60),
            fake_unit("crashing", folder, exit=3),
            fake_unit("router", folder, kind="router"),
        )
    ]
    async with supervise(units, bind(units), RunFolder(folder / "run"), Recorder()):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
