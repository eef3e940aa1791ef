"""Every combination of parameters that the catalog lets through gives an answer, or a refusal that names a field."""

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.catalog import GENERATION, Field
from services.engine.base import Finished, GenerationRequest, Prompt
from services.engine.sampling.parameters import Room, resolve_length, resolve_sampling
from services.errors import ServiceError
from tests.services.conftest import Tiny
from tests.services.engine.loading.test_generators import load
from tests.services.engine.running import run

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel

pytestmark = pytest.mark.unit

IDS = (5, 6, 7)
ROOM = Room(256)


@pytest.fixture(scope="module")
def model(tiny: Tiny) -> "LoadedModel":
    return load(tiny, "gpt2")


def values_of(field: Field) -> st.SearchStrategy[Any]:
    """What a client may send for this field, its bounds above all."""
    match field.kind:
        case "integer" | "seed":
            low, high = int(field.minimum or 0), int(field.maximum or 2**40)
            return st.sampled_from([low, low + 1, 3, high]) | st.integers(low, high)
        case "number":
            lowest, highest = float(field.minimum or 0), float(field.maximum or 1e300)
            return st.sampled_from([lowest or 5e-324, highest, 1e-30, 1.0]).filter(
                lambda number: number >= lowest
            ) | st.floats(lowest, highest, exclude_min=field.above)
        case "early-stopping":
            return st.sampled_from([True, False, "never"])
        case "text-list":
            return st.lists(st.sampled_from(["", " ", "a", "the", "\ufffd", "x" * 1000]), max_size=3)
        case _:
            return st.booleans()


FIELDS = st.fixed_dictionaries(
    {"max_output_length": st.integers(1, 5)},
    optional={name: values_of(field) for name, field in GENERATION.items() if name != "max_output_length"},
)


@settings(max_examples=60)
@given(sent=FIELDS)
def test_what_the_catalog_accepts_the_model_honours(model: "LoadedModel", sent: dict[str, Any]) -> None:
    from services.engine.static.runner import StaticRunner

    fields = {name: GENERATION[name].coerce(value) for name, value in sent.items()}
    assume(fields.get("num_beams", 1) * fields.get("num_return_sequences", 1) < 200)
    try:
        sampling = resolve_sampling(fields, {})
        length = resolve_length(fields, {}, prompt=len(IDS), room=ROOM)
    except ServiceError as refused:
        named = refused.status == 422 and refused.field in sent
        assert named, refused.message  # noqa: PT017  (a refusal is one of two good ends)
        return
    prompt = Prompt(IDS, length.max_new, length.min_new)
    request = GenerationRequest((prompt,), sampling, fields.get("seed", 1))
    first, second = run(lambda host: StaticRunner(model, host), [request, request])
    assert isinstance(first, Finished)
    assert first == second
    (texts,) = first.texts
    assert len(texts) == sampling.num_return_sequences
    assert 0 < first.completion_tokens <= length.max_new * len(texts)
    assert not any(stop in text for stop in sampling.stop for text in texts)
