"""What the tests of the command line share."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compose.ups import Start, Up


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `up` in the test's folder; what still runs after the test is killed."""
    (tmp_path / "model-compose.yml").write_text("component: {type: model, task: chat-completion, model: ./model}\n")
    with contextlib.ExitStack() as stack:

        def begin(
            *units: dict[str, Any], options: tuple[str, ...] = (), environment: dict[str, str] | None = None
        ) -> Up:
            up = Up(tmp_path, [*units], options, environment or {})
            stack.enter_context(up.process)
            stack.callback(up.process.kill)
            return up

        yield begin
