"""Runs that ask much at once, on real processes: none is refused because of itself."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.services.router.rig import Stack, chat, job, stack, workflow

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    jobs = [job(f"j{number}", "one", input={"user_prompt": f"{number}"}) for number in range(100)]
    repeats = job("r", "one", repeat_count=100, input={"user_prompt": "${index}"})
    components = [chat("one", max_concurrent_count=1, max_queue_length=3)]
    workflows = [workflow("jobs", *jobs), workflow("repeats", repeats)]
    with stack(tmp_path_factory.mktemp("wide"), components, workflows) as running:
        yield running


@pytest.mark.parametrize(("name", "output"), [("jobs", "99"), ("repeats", [str(index) for index in range(100)])])
def test_four_wide_runs_share_a_narrow_component(wide: Stack, name: str, output: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: wide.post({"workflow_id": name}), range(4)))
    assert [(answer.status_code, answer.json().get("output")) for answer in answers] == [(200, output)] * 4
    assert wide.tasks["one"].counters()["computing"] == 0
