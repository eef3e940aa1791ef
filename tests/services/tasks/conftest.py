"""Tiny models, made once a session, and one process per model and task."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from services.settings import TaskSettings
from tests.models import Architecture, make_model
from tests.services.tasks.serving import TaskProcess, serve

Tiny = Callable[[Architecture], Path]
Served = Callable[[Architecture, str], TaskProcess]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    return cache(lambda architecture: make_model(architecture, root / architecture))


def settings_of(path: Path, task: str = "text-generation", **changes: Any) -> TaskSettings:
    values = {"id": "tiny", "task": task, "model": f"tiny/{path.name}", "model_path": path, "threads": 1}
    return TaskSettings(**{"precision": "float32", "device": "cpu", **values, **changes})


@pytest.fixture(scope="package")
def served(tiny: Tiny) -> Iterator[Served]:
    """A ready process; the same one for every test that asks for it."""
    with ExitStack() as stack:

        @cache
        def start(architecture: Architecture, task: str) -> TaskProcess:
            process = stack.enter_context(serve(settings_of(tiny(architecture), task)))
            process.wait_ready()
            return process

        yield start


class Reference:
    """The same model through `generate()`, in this process."""

    def __init__(self, path: Path) -> None:
        encoder_decoder = path.name == "blenderbot"
        auto = transformers.AutoModelForSeq2SeqLM if encoder_decoder else transformers.AutoModelForCausalLM
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path)
        self.network: Any = auto.from_pretrained(path, dtype=torch.float32).eval()
        self.encoder_decoder = encoder_decoder

    def generate(self, ids: list[int], *, continues: bool = False, seed: int = 1, **options: Any) -> str:
        """The text of the new tokens; `continues`: as it follows the prompt's."""
        torch.manual_seed(seed)
        inputs = torch.tensor([ids])
        output = self.network.generate(inputs, attention_mask=torch.ones_like(inputs), **options)[0].tolist()
        if self.encoder_decoder:
            return self.text(output)
        return self.text(output)[len(self.text(ids)) :] if continues else self.text(output[len(ids) :])

    def text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@pytest.fixture(scope="session")
def reference(tiny: Tiny) -> Callable[[Architecture], Reference]:
    return cache(lambda architecture: Reference(tiny(architecture)))
