"""Which runner a loaded model gets."""

import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from services.engine.base import Finished
from tests.services.conftest import Tiny
from tests.services.engine.continuous.driving import generated, prompts, request
from tests.services.engine.continuous.networks import BATCHES, load_decoder
from tests.services.engine.loading.test_generators import load
from tests.services.engine.running import Recorder, run
from tests.services.tasks.serving import settings_of

if TYPE_CHECKING:
    from tests.models import Architecture

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


@pytest.mark.parametrize(("name", "joins"), [("llama", True), ("mistral", True), ("smollm3", True), ("gpt_neo", False)])
def test_a_model_in_int8_gets_the_same_runner(
    tiny: Tiny, caplog: pytest.LogCaptureFixture, name: "Architecture", joins: bool
) -> None:
    from services.engine.choice import make_runner

    caplog.set_level(logging.INFO, "services.engine.choice")
    settings = settings_of(tiny(name), quantization="int8")
    model = load(tiny, name, quantization="int8")
    (end,) = run(lambda host: make_runner(model, settings, host), [request(*prompts(2))])
    assert isinstance(end, Finished)
    said = [record.message for record in caplog.records if record.name == "services.engine.choice"]
    assert [line.startswith("up to 32 rows at once") for line in said] == [joins]


def test_without_the_parts_of_transformers_a_gpu_does_without_its_paged_cache(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.engine.choice import start_on_gpu
    from services.engine.continuous.network import UnfitError
    from services.engine.static.runner import StaticRunner

    model, host = load(tiny, "llama"), Recorder().host
    beams = StaticRunner(model, host)
    monkeypatch.delitem(sys.modules, "services.engine.paged", raising=False)
    module = "transformers.generation.continuous_batching.model_runner"
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    with pytest.raises(UnfitError, match=r"^transformers [\d.]+ has no such parts as it is made of$"):
        start_on_gpu(model, host, rows=2, tokens=512, beams=beams)


def test_a_search_with_beams_runs_between_the_steps(tiny: Tiny) -> None:
    from services.engine.choice import make_runner
    from services.engine.sampling.parameters import Sampling

    model = load_decoder(tiny, "llama")
    settings = settings_of(tiny("llama"))
    asked = [request(prompt) for prompt in prompts(3)]
    beams = request(*prompts(2), sampling=Sampling(do_sample=False, num_beams=3))
    first, searched, *rest = run(lambda host: make_runner(model, settings, host), [asked[0], beams, *asked[1:]])
    assert [first, *rest] == [generated(model, each.prompts[0]) for each in asked]
    assert [searched] == run(lambda host: make_runner(model, settings, host), [beams])
