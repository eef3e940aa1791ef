"""What a task, an engine and a runner say to each other: token ids in, text or vectors out as they come.

A task submits requests to an Engine from the event loop. The engine keeps them in a queue and a Runner does them, in
the engine's thread, which alone uses torch. Nothing here knows torch.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from services.engine.sampling.parameters import Sampling
from services.errors import ServiceError
from services.wire import FinishReason, Readiness

RequestT = TypeVar("RequestT")
EventT = TypeVar("EventT")
RequestT_contra = TypeVar("RequestT_contra", contravariant=True)
EventT_co = TypeVar("EventT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One input: its token ids and how many new tokens may and must follow.

    continues: the answer goes on in the middle of the prompt's text, so that a first word keeps its leading space.
    """

    ids: tuple[int, ...]
    max_new: int
    min_new: int = 0
    continues: bool = False


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt or several under one seed and one place in the queue; prompt `i` is sampled with `seed + i`.

    stream: whether anybody wants the pieces; the end comes in any case.
    batch_size: prompts of this request that are computed together at most; 0: the engine decides.
    """

    prompts: tuple[Prompt, ...]
    sampling: Sampling
    seed: int
    stream: bool = True
    batch_size: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole characters that came since the last piece of this sequence."""

    prompt: int
    sequence: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end: `texts[prompt][sequence]`, each the joined pieces of its sequence, and why each of them ended.

    writing_s: from the first to the last token of each sequence, all added up; two that say the same may differ in it.
    """

    texts: tuple[tuple[str, ...], ...]
    finish_reasons: tuple[tuple[FinishReason, ...], ...]
    completion_tokens: int
    writing_s: float = field(default=0.0, compare=False)


Pooling = Literal["mean", "cls", "max", "lasttoken"]


@dataclass(frozen=True, slots=True)
class EncoderInput:
    """One text, or a pair of texts, as an encoder reads it; type_ids tells the two of a pair apart, where a model does.

    Both have one entry a token, special tokens included.
    """

    ids: tuple[int, ...]
    type_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class EncodingRequest:
    """Several inputs under one place in the queue.

    pooling: how the tokens' vectors become one; None for a network whose head already gives one row an input.
    normalize: scale every vector to length 1.
    batch_size: inputs of this request that are computed together at most; 0: the engine decides.
    """

    inputs: tuple[EncoderInput, ...]
    pooling: Pooling | None = None
    normalize: bool = False
    batch_size: int = 0


@dataclass(frozen=True, slots=True)
class Encoded:
    """The end of an EncodingRequest: one row of finite numbers an input, in the inputs' order."""

    rows: tuple[tuple[float, ...], ...]


class Handle(Protocol[EventT_co]):
    """One admitted request, as its task sees it."""

    def events(self) -> AsyncGenerator[EventT_co, None]:
        """Pieces if there are any, then exactly one end; raises ServiceError. Closing it cancels the request."""

    def cancel(self) -> None:
        """Give the place up; the computation goes on without this request after one token or batch at most."""


class Engine(Protocol[RequestT_contra, EventT_co]):
    """Runs one model."""

    @property
    def readiness(self) -> Readiness:
        """How far loading is; safe to read from any thread."""

    def start(self) -> None:
        """Begin to load, in the background; a second call does nothing."""

    def check_queue(self, coming: int = 0) -> None:
        """Raises ServiceError 503 when the queue is full, or will be once the requests that come have joined it."""

    def submit(self, request: RequestT_contra) -> Handle[EventT_co]:
        """Take a place in the queue, from the event loop; raises ServiceError 503 when it is full."""


class Job(Generic[RequestT]):
    """One admitted request, as its runner sees it.

    cancelled: set from the event loop; the runner drops the job at its next step, without a word.
    first_token_s: time.monotonic() when the first token or row of it was known; the runner writes it.
    """

    def __init__(self, request: RequestT) -> None:
        self.request = request
        self.cancelled = False
        self.first_token_s: float | None = None


Outcome = tuple[Job[RequestT], EventT | ServiceError]
"""What became of a job: a Piece, or its end."""


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How full a runner is: sequences computed together; tokens that its cache holds, and can hold."""

    rows: int = 0
    cached_tokens: int = 0
    cache_tokens: int = 0


class Runner(Protocol[RequestT]):
    """Does requests with one network. Everything here is called in the engine's thread."""

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""

    @property
    def occupancy(self) -> Occupancy:
        """For the metrics; read from any thread."""

    def accepts(self, request: RequestT) -> bool:
        """Whether the request that waits longest may join now; an idle runner accepts anything."""

    def add(self, job: Job[RequestT]) -> None:
        """Take the job in; its first step is the next one."""

    def step(self) -> None:
        """Advance by one token, chunk or batch and emit what came of it.

        A failure that concerns one job only is emitted as its end. Whatever is raised ends every job that was added and
        has no end yet; `reset` comes next.
        """

    def reset(self) -> None:
        """Forget every job and what is cached for it."""


@dataclass(frozen=True, slots=True)
class Host(Generic[RequestT, EventT]):
    """What a runner is given.

    emit: once a step, with everything that came of it.
    beat: says that the computation moves on, before every layer; without it a cancelled job counts as hanging.
    """

    emit: Callable[[Sequence[Outcome[RequestT, EventT]]], None]
    beat: Callable[[], None]


GenerationEngine = Engine[GenerationRequest, Piece | Finished]
GenerationRunner = Runner[GenerationRequest]
GenerationHost = Host[GenerationRequest, Piece | Finished]
EncodingEngine = Engine[EncodingRequest, Encoded]
EncodingHost = Host[EncodingRequest, Encoded]
AnyRunner = Runner[Any]
AnyHost = Host[Any, Any]
