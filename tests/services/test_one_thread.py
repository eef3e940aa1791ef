"""Torch computes in the engine's thread alone: a second team of threads makes decoding twice as slow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

MODEL = Path(__file__).parents[2] / "examples" / "quickstart" / "model"
SERVE = """
import asyncio, os, sys, threading
from pathlib import Path
from services.service import TaskWorker
from services.settings import TaskSettings
from services.wire import TaskRequest

settings = {"id": "x", "task": "text-generation", "model": "m", "model_path": Path(sys.argv[1]), "device": "cpu"}
worker = TaskWorker(TaskSettings(**settings, threads=2, precision="float32", quantization=sys.argv[2] or None))

async def generate(prompt: str) -> None:
    fields = {"prompt": prompt, "max_output_length": 4, "min_output_length": 4}
    async for _ in await worker.predict(TaskRequest("r", fields, 1, False)):
        pass

async def serve() -> None:
    worker.start()
    while worker.readiness.stage != "ready":
        assert worker.readiness.stage == "loading"
        await asyncio.sleep(0.05)
    await asyncio.gather(*(generate("Once upon a time " * count) for count in (1, 20, 60)))

asyncio.run(serve())
print(len(os.listdir("/proc/self/task")) - len(threading.enumerate()))
"""
"""Prints how many threads there are that Python did not start: torch's."""


@pytest.mark.skipif(
    sys.platform != "linux" or (os.cpu_count() or 1) < 2, reason="counts threads in /proc, of at least two processors"
)
@pytest.mark.parametrize("quantization", ["", "int8"])
def test_a_task_has_one_team_of_torchs_threads(quantization: str) -> None:
    command = [sys.executable, "-c", SERVE, str(MODEL), quantization]
    served = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (served.returncode, served.stdout) == (0, "1\n"), served.stderr
