"""Stock `bentoml serve` serves the Bento of a task from nothing but the Bento and the weights."""

from pathlib import Path

import pytest

from builders.bento import BentoInputs, make_bento
from builders.code import code_for
from services.settings import TaskSettings
from tests.models import make_model
from tests.stock_bentoml import served

pytestmark = pytest.mark.server


def test_a_request_is_answered(tmp_path: Path) -> None:
    model = make_model("gpt2", tmp_path / "model")
    settings = TaskSettings(id="writer", task="text-generation", model="tiny/gpt2", model_path=model)
    make_bento(BentoInputs(settings, code_for("task"), (), "3.11"), tmp_path / "bento")
    fields = {"prompt": "Once upon a time", "max_output_length": 4}
    with served(tmp_path / "bento", tmp_path) as bento:
        status, answer = bento.ask(
            "POST", "/predict", {"request_id": "r", "fields": fields, "seed": 1, "stream": False}
        )
        assert (status, answer["usage"]["completion_tokens"]) == (200, 4)
        _, schema = bento.ask("GET", "/schema.json")
    assert schema["name"] == "task-writer"
