"""A router with its doors under `/v1`, and the official clients in front of it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from openai import AsyncOpenAI, OpenAI

from services.router.settings import ComponentSettings
from tests.services.router.openai_doors.asking import TOKEN
from tests.services.router.rig import CHAT_FIELDS, Stack, chat, stack, text, workflow


@pytest.fixture(scope="module")
def doors() -> Iterator[Stack]:
    """Components `chat`, `warm` (with parameters of its own), `text` and `other` with the same model, and `vectors`."""
    warm = {
        "fields": {
            **CHAT_FIELDS,
            "temperature": "${input.temperature as number | 0.4}",
            "do_sample": False,
            "max_output_length": 9,
            "stop_sequences": ["END"],
        },
        "output": "never <${result}>",
    }
    vectors = {"fields": {"text": "${input.text}", "pooling": "cls"}, "output": "never <${result}>"}
    components: list[ComponentSettings] = [
        chat(model="owner/chat"),
        chat("warm", action=warm, model="owner/warm"),
        text(model="owner/text"),
        text("other", model="owner/text", default=True),
        chat("vectors", task="text-embedding", action=vectors, model="owner/vectors"),
    ]
    private = workflow("text", private=True)
    with (
        TemporaryDirectory(prefix="mc-") as folder,
        stack(Path(folder), components, [private], auth_token=TOKEN, max_body_bytes=100_000) as running,
    ):
        yield running


@pytest.fixture
def client(doors: Stack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{doors.router.address}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


@pytest.fixture
async def asynchronous(doors: Stack) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{doors.router.address}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client
