"""Every architecture says in the running batch what `generate()` says to each prompt alone, or is told not to join."""

import pytest

from services.engine.base import Finished
from tests.services.conftest import Tiny
from tests.services.engine.continuous.driving import generated, make, prompts, request, staggered
from tests.services.engine.continuous.networks import BATCHES, CONTINUOUS, load_decoder

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", CONTINUOUS)
def test_staggered_prompts_say_what_generate_says(tiny: Tiny, name: str) -> None:
    model = load_decoder(tiny, name)
    given = prompts(24)
    ends = staggered(make(model, rows=6, chunk=48), [request(prompt) for prompt in given])
    assert ends == [generated(model, prompt) for prompt in given]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_an_architecture_whose_rows_stay_apart_is_proven(tiny: Tiny, name: str) -> None:
    from services.engine.continuous.network import Network
    from services.engine.continuous.proof import prove

    model = load_decoder(tiny, name)
    before = model.network.config.to_dict()
    prove(Network(model.network), context=model.room.decoder)
    assert model.network.config.to_dict() == before


@pytest.mark.parametrize("name", BATCHES)
def test_an_architecture_whose_rows_do_not_is_told_why(tiny: Tiny, name: str) -> None:
    from services.engine.continuous.network import Network, UnfitError
    from services.engine.continuous.proof import prove

    model = load_decoder(tiny, name)
    with pytest.raises(UnfitError) as refused:
        prove(Network(model.network), context=model.room.decoder)
    assert str(refused.value) == BATCHES[name]


@pytest.mark.parametrize("changes", [{"precision": "bfloat16"}, {"quantization": "int8"}], ids=["bfloat16", "int8"])
def test_rounded_networks_are_proven_as_well(tiny: Tiny, changes: dict[str, str]) -> None:
    from services.engine.continuous.network import Network
    from services.engine.continuous.proof import prove
    from tests.services.engine.loading.test_generators import load

    model = load(tiny, "gpt2", **changes)
    prove(Network(model.network), context=model.room.decoder, coarse="quantization" in changes)
    ends = staggered(make(model, rows=4), [request(prompt) for prompt in prompts(6)])
    assert all(isinstance(end, Finished) for end in ends)
