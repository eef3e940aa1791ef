"""A batch of generate() chooses tokens only for rows that still want them."""

from typing import TYPE_CHECKING

import pytest

from services.engine.base import GenerationRequest, Job, Prompt
from services.engine.row import Answer, Row
from services.engine.sampling.parameters import Sampling
from tests.services.conftest import Tiny
from tests.services.engine.loading.test_generators import load

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.unit


def test_when_all_rows_have_ended_behind_the_last_layer_nothing_is_chosen(tiny: Tiny) -> None:
    from services.engine.static.generation import Generator

    prompts = Prompt((5, 6, 7), max_new=9), Prompt((8, 9), max_new=9)
    job = Job(GenerationRequest(prompts, Sampling(do_sample=False), seed=1))
    heard: list[Sequence[tuple[Row, int | None]]] = []
    generator = Generator(load(tiny, "gpt2"), check=lambda: None)
    generator.write(Answer(job, decode=str, ends=()).rows, lambda _: True, heard.append)
    assert heard == [[]]
