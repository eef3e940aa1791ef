"""Which runner a loaded model gets."""

import logging

import pytest

from tests.services.conftest import Tiny
from tests.services.engine.continuous.driving import generated, prompts, request
from tests.services.engine.continuous.networks import BATCHES, load_decoder
from tests.services.engine.running import run
from tests.services.tasks.serving import settings_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_neo", "mamba", "bloom"])
def test_a_model_gets_the_runner_it_can_have_and_the_log_says_why(
    tiny: Tiny, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    from services.engine.choice import make_runner

    caplog.set_level(logging.INFO, "services.engine.choice")
    model = load_decoder(tiny, name)
    settings = settings_of(tiny("gpt2"), max_concurrent_count=4)
    asked = prompts(6)
    ends = run(lambda host: make_runner(model, settings, host), [request(prompt) for prompt in asked])
    assert ends == [generated(model, prompt) for prompt in asked]
    (said,) = [record.message for record in caplog.records if record.name == "services.engine.choice"]
    if name in BATCHES:
        assert said == f"tiny/gpt2 runs in batches of generate(): {BATCHES[name]}"
    else:
        assert said.startswith("up to 4 rows at once, ")


def test_a_search_with_beams_runs_between_the_steps(tiny: Tiny) -> None:
    from services.engine.choice import make_runner
    from services.engine.sampling import Sampling

    model = load_decoder(tiny, "llama")
    settings = settings_of(tiny("llama"))
    asked = [request(prompt) for prompt in prompts(3)]
    beams = request(*prompts(2), sampling=Sampling(do_sample=False, num_beams=3))
    first, searched, *rest = run(lambda host: make_runner(model, settings, host), [asked[0], beams, *asked[1:]])
    assert [first, *rest] == [generated(model, each.prompts[0]) for each in asked]
    assert [searched] == run(lambda host: make_runner(model, settings, host), [beams])
