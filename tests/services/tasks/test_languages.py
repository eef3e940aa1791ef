"""A model of many languages that nobody tells which one to write is warned of once, when it starts."""

import logging
from pathlib import Path
from typing import Any, cast

import pytest

from services.engine.base import GenerationEngine
from services.engine.sampling.parameters import Room
from services.settings import TaskSettings
from services.tasks.text_to_text import Task

pytestmark = pytest.mark.unit

ENDS = 2
ROOM = Room(64, 64, encoder_decoder=True)


@pytest.mark.parametrize(
    ("model_type", "defaults", "warned"),
    [
        ("m2m_100", {"decoder_start_token_id": ENDS}, True),
        ("mbart", {}, True),
        ("m2m_100", {"decoder_start_token_id": ENDS, "forced_bos_token_id": 256047}, False),
        ("mbart", {"decoder_start_token_id": 250020}, False),
        ("marian", {"decoder_start_token_id": ENDS}, False),
    ],
)
def test_a_language_that_nothing_names_is_one_warning(
    caplog: pytest.LogCaptureFixture, model_type: str, defaults: dict[str, Any], warned: bool
) -> None:
    from transformers import M2M100Config

    from services.engine.loading.generators import LoadedModel

    class Network:
        config = M2M100Config()

    settings = TaskSettings(id="translate", task="translation", model="owner/model", model_path=Path("/nowhere"))
    task = Task(settings, cast(GenerationEngine, None))
    with caplog.at_level(logging.WARNING):
        task.setup(LoadedModel(Network(), None, model_type, ROOM, (ENDS,), defaults, "cpu"))
    found = [record.getMessage() for record in caplog.records]
    assert len(found) == warned
    assert all("owner/model writes many languages" in line and "`forced_bos_token_id`" in line for line in found)
