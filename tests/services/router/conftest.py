"""One stack for the tests that leave it as they found it; a factory for those that do not."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.services.router.rig import Stack, chat, job, stack, text, workflow

MAPPED = {"generated": "${output}"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for Unix sockets."""
    with TemporaryDirectory(prefix="mc-") as path:
        yield Path(path)


@pytest.fixture
def make_stack(folder: Path) -> Callable[..., AbstractContextManager[Stack]]:
    def make(components: Any, workflows: Any, **changes: Any) -> AbstractContextManager[Stack]:
        return stack(folder, components, workflows, **changes)

    return make


@pytest.fixture(scope="package")
def shared() -> Iterator[Stack]:
    """Components `chat` and `text`, and workflows over them in every shape."""
    streaming = text("streaming", action={"fields": {"text": "${input.prompt}"}, "streaming": True})
    chain = (
        job("first", "text"),
        job("second", "text", input={"prompt": "${jobs.first.output} again"}),
        job("beside", "text"),
    )
    repeated = job("many", "text", repeat_count="${input.count}", input={"prompt": "${input.prompts[${index}]}"})
    workflows = [
        workflow("chat", title="Generate Chat Messages", output=MAPPED, default=True),
        workflow("text"),
        workflow("streaming"),
        workflow("transformed", job("j", "text"), output="Answer: ${output}"),
        workflow("mixed", job("j", "text"), output={"same": "${output}", "other": "<${output}>", "n": 1}),
        workflow("chain", *chain, output={"last": "${jobs.second.output}", "beside": "${jobs.beside.output}"}),
        workflow("repeated", repeated),
        workflow("converted", job("j", "text"), output="${output as integer}"),
        workflow("hidden", job("j", "text"), private=True),
    ]
    with TemporaryDirectory(prefix="mc-") as path, stack(Path(path), [chat(), text(), streaming], workflows) as running:
        yield running
