"""A model of many languages is served only where its files say which one to write."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from services.engine.base import Finished, GenerationEngine, GenerationRequest, Prompt
from services.engine.failure import MODEL_UNFIT, LoadError
from services.engine.loading.checkpoint import read_checkpoint
from services.engine.sampling.parameters import Room, Sampling
from services.tasks.text_to_text import Task
from tests.services.engine.running import run
from tests.services.tasks.serving import settings_of

pytestmark = pytest.mark.unit

ENDS = 2
ROOM = Room(64, 64, encoder_decoder=True)


@pytest.mark.parametrize(
    ("model_type", "defaults", "refused"),
    [
        ("m2m_100", {"decoder_start_token_id": ENDS}, True),
        ("mbart", {}, True),
        ("m2m_100", {"decoder_start_token_id": ENDS, "forced_bos_token_id": 256047}, False),
        ("mbart", {"decoder_start_token_id": 250020}, False),
        ("marian", {"decoder_start_token_id": ENDS}, False),
    ],
)
def test_a_language_that_nothing_names_is_refused(model_type: str, defaults: dict[str, Any], refused: bool) -> None:
    from transformers import M2M100Config

    from services.engine.loading.generators import LoadedModel

    class Network:
        config = M2M100Config()

    said = []
    task = Task(settings_of(Path("model"), "translation"), cast(GenerationEngine, None))
    try:
        task.setup(LoadedModel(Network(), None, model_type, ROOM, (ENDS,), defaults, "cpu"))
    except LoadError as error:
        said.append((error.message, error.exit_code))
    message = (
        "tiny/model writes many languages, and its files do not say which one; name it with `forced_bos_token_id` in"
        " the generation_config.json of a copy"
    )
    assert said == [(message, MODEL_UNFIT)] * refused


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_the_language_that_the_files_name_is_what_every_answer_begins_with(tmp_path: Path, file: str) -> None:
    from services.engine.loading.generators import load_model
    from services.engine.static.runner import StaticRunner
    from tests.rewriters import make_rewriter

    def load(folder: Path) -> Any:
        settings = settings_of(folder, "translation")
        model = load_model(settings, read_checkpoint(folder, settings.model))
        Task(settings, cast(GenerationEngine, None)).setup(model)
        return model

    folder = make_rewriter("m2m_100", tmp_path / "model")
    with pytest.raises(LoadError, match="writes many languages"):
        load(folder)
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), "forced_bos_token_id": 77}))
    if file == "config.json":  # of old repositories, which have it alone
        (folder / "generation_config.json").unlink()
    model = load(folder)
    asked = GenerationRequest((Prompt((0, 9, 8, 2), max_new=1),), Sampling(do_sample=False), seed=1)
    (end,) = run(lambda host: StaticRunner(model, host), [asked])
    assert isinstance(end, Finished)
    assert end.texts == ((model.tokenizer.decode([77]),),)
