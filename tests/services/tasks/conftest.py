"""One process per model and task, and the same model through `generate()` to compare with."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.conftest import Tiny
from tests.services.tasks.serving import TaskProcess, serve_each

if TYPE_CHECKING:
    from tests.models import Architecture

Served = Callable[["Architecture", str], TaskProcess]
Known = Callable[["Architecture"], "Reference"]


@pytest.fixture(scope="package")
def served(tiny: Tiny) -> Iterator[Served]:
    with serve_each(tiny) as start:
        yield start


class Reference:
    """The same model through `generate()`, in this process."""

    def __init__(self, path: Path) -> None:
        import torch
        import transformers

        torch.set_num_threads(1)
        encoder_decoder = transformers.AutoConfig.from_pretrained(path).is_encoder_decoder
        auto = transformers.AutoModelForSeq2SeqLM if encoder_decoder else transformers.AutoModelForCausalLM
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path)
        self.network: Any = auto.from_pretrained(path, dtype=torch.float32).eval()
        self.encoder_decoder = encoder_decoder

    def generate(self, ids: list[int], *, continues: bool = False, seed: int = 1, **options: Any) -> str:
        """The text of the new tokens; `continues`: as it follows the prompt's."""
        import torch

        torch.manual_seed(seed)
        inputs = torch.tensor([ids])
        output = self.network.generate(inputs, attention_mask=torch.ones_like(inputs), **options)[0].tolist()
        if self.encoder_decoder:
            return self.text(output)
        return self.text(output)[len(self.text(ids)) :] if continues else self.text(output[len(ids) :])

    def text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@pytest.fixture(scope="session")
def reference(tiny: Tiny) -> Known:
    return cache(lambda architecture: Reference(tiny(architecture)))
