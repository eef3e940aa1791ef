"""What an engine has done so far, in plain numbers: counting costs about a microsecond and imports nothing."""

from bisect import bisect_left
from collections.abc import Sequence

from services.engine.base import EncodingRequest, Finished, GenerationRequest

_WAITS_S = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_STEPS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Distribution:
    """How often a quantity lay between two bounds. counts: for each bound, and for what is above all of them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Tally:
    """Written in the engine's thread alone; read from any.

    prompt_tokens, completion_tokens: of requests that have ended well. waits, first_tokens: seconds since the request
    took its place in the queue. later_tokens: seconds between two tokens of one sequence, a request's mean.
    steps: seconds that each step of the runner took, which is one token of every row.
    """

    def __init__(self) -> None:
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.waits = Distribution(_WAITS_S)
        self.first_tokens = Distribution(_WAITS_S)
        self.later_tokens = Distribution(_STEPS_S)
        self.steps = Distribution(_STEPS_S)

    def finished(self, request: object, end: object) -> None:
        """A request has ended well."""
        if isinstance(request, GenerationRequest):
            self.prompt_tokens += sum(len(prompt.ids) for prompt in request.prompts)
        elif isinstance(request, EncodingRequest):
            self.prompt_tokens += sum(len(item.ids) for item in request.inputs)
        if isinstance(end, Finished):
            self.completion_tokens += end.completion_tokens

    def wrote(self, request: object, end: object) -> None:
        """A request has ended well; what beams write comes at once, and so has no time between tokens."""
        if isinstance(request, GenerationRequest) and isinstance(end, Finished) and request.sampling.num_beams == 1:
            sequences = sum(map(len, end.texts))
            if end.completion_tokens > sequences:
                self.later_tokens.add(end.writing_s / (end.completion_tokens - sequences))
