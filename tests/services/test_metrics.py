"""A task's page for Prometheus, as it stands."""

import pytest

from services.engine.base import Encoded, EncoderInput, EncodingRequest, Finished, GenerationRequest, Occupancy, Prompt
from services.engine.sampling.parameters import Sampling
from services.engine.tally import Distribution, Tally
from services.metrics import Metrics

pytestmark = pytest.mark.unit


class Engine:
    """Two requests behind a batch of three."""

    waiting, running = 2, 3
    occupancy = Occupancy(rows=4, cached_tokens=50, cache_tokens=1000)

    def __init__(self) -> None:
        self.tally = Tally()


PAGE = """\
model_compose_task_requests_total{component="chat",status="completed"} 2.0
model_compose_task_requests_total{component="chat",status="overloaded"} 1.0
model_compose_task_tokens_total{component="chat",kind="prompt"} 8.0
model_compose_task_tokens_total{component="chat",kind="completion"} 7.0
model_compose_task_queued_requests{component="chat"} 2.0
model_compose_task_active_requests{component="chat"} 3.0
model_compose_task_batch_rows{component="chat"} 4.0
model_compose_task_cached_tokens{component="chat"} 50.0
model_compose_task_cache_limit_tokens{component="chat"} 1000.0
model_compose_task_queue_wait_seconds_count{component="chat"} 1.0
model_compose_task_queue_wait_seconds_sum{component="chat"} 0.02
model_compose_task_time_to_first_token_seconds_count{component="chat"} 0.0
model_compose_task_time_to_first_token_seconds_sum{component="chat"} 0.0
model_compose_task_time_per_output_token_seconds_count{component="chat"} 1.0
model_compose_task_time_per_output_token_seconds_sum{component="chat"} 0.8
model_compose_task_step_duration_seconds_count{component="chat"} 0.0
model_compose_task_step_duration_seconds_sum{component="chat"} 0.0
"""


def test_the_page_shows_what_was_counted() -> None:
    engine = Engine()
    metrics = Metrics("chat", engine)
    for outcome in ("completed", "overloaded", "completed"):
        metrics.ended(outcome)
    engine.tally.waits.add(0.02)
    prompts = (Prompt((1, 2, 3), max_new=9), Prompt((1, 2), max_new=9))
    finished = Finished((("a",), ("b",)), (("stop",), ("stop",)), completion_tokens=7, writing_s=4.0)
    request = GenerationRequest(prompts, Sampling(do_sample=False), seed=1)
    engine.tally.finished(request, finished)
    engine.tally.wrote(request, finished)
    engine.tally.finished(EncodingRequest((EncoderInput((1, 2, 3)),)), Encoded(((0.5,),)))
    page = metrics.render().decode()
    lines = [line for line in page.splitlines(keepends=True) if line.startswith("model_compose_") and "le=" not in line]
    assert "".join(lines) == PAGE
    assert 'queue_wait_seconds_bucket{component="chat",le="0.005"} 0.0' in page
    assert 'queue_wait_seconds_bucket{component="chat",le="0.025"} 1.0' in page
    assert 'queue_wait_seconds_bucket{component="chat",le="+Inf"} 1.0' in page


@pytest.mark.parametrize(
    ("sampling", "tokens", "counted"),
    [
        (Sampling(do_sample=False, num_return_sequences=2), 12, [0.2]),
        (Sampling(do_sample=False, num_return_sequences=2), 2, []),
        (Sampling(do_sample=False, num_beams=2, num_return_sequences=2), 12, []),
    ],
)
def test_time_counts_between_the_tokens_of_a_sequence(sampling: Sampling, tokens: int, counted: list[float]) -> None:
    tally = Tally()
    request = GenerationRequest((Prompt((1,), max_new=9),), sampling, seed=1)
    tally.wrote(request, Finished((("a", "b"),), (("stop", "stop"),), tokens, writing_s=2.0))
    assert (sum(tally.later_tokens.counts), tally.later_tokens.total) == (len(counted), sum(counted))


def test_a_distribution_counts_between_its_bounds() -> None:
    distribution = Distribution((1, 10))
    for value in (0.5, 1, 2, 10, 11, 1000):
        distribution.add(value)
    assert (distribution.counts, distribution.total) == ([2, 2, 2], 1024.5)
