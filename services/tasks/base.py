"""What every task is, and the way all text-generating ones go from a request to frames."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from services.closing import Closing
from services.engine.base import Finished, GenerationEngine, GenerationRequest, Piece, Prompt
from services.engine.sampling.parameters import Length, Room, resolve_length, resolve_sampling
from services.settings import TaskSettings
from services.tasks.admission import Admission
from services.tasks.fields import batch_size
from services.wire import Delta, Done, Frame, TaskRequest

if TYPE_CHECKING:
    from services.engine.loading.generators import LoadedModel


class Task(Protocol):
    """One kind of work with one model."""

    def setup(self, model: Any) -> None:
        """Called once, in the engine's thread, with what the loader of its kind of network made."""

    async def predict(self, request: TaskRequest) -> AsyncGenerator[Frame, None]:
        """Admit the request, or raise ServiceError; then its frames, of which the last is Done.

        Closing the frames cancels the request; they may raise ServiceError, too.
        """


@dataclass(frozen=True, slots=True)
class Input:
    """One text for the model. `echo` comes before the answer, `continues` as in Prompt."""

    ids: list[int]
    echo: str = ""
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Inputs:
    """What one request holds. many: the user gave a list, so the result is one. stop: besides the action's own."""

    items: list[Input]
    many: bool
    field: str
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Prepared:
    request: GenerationRequest
    echoes: list[str]
    many: bool
    warnings: list[dict[str, Any]]


class GenerationTask(ABC):
    """A Task whose answers are generated text; each kind says how its fields become tokens.

    samples: whether the answer is sampled when neither the action nor the repository says so.
    """

    samples: ClassVar[bool] = True

    def __init__(self, settings: TaskSettings, engine: GenerationEngine) -> None:
        self.settings = settings
        self._engine = engine
        self._admission = Admission(engine)
        self.model: LoadedModel

    def setup(self, model: "LoadedModel") -> None:
        self.model = model

    @abstractmethod
    def read(self, fields: Mapping[str, Any]) -> Inputs:
        """The request's texts as token ids; raises ServiceError 422."""

    async def predict(self, request: TaskRequest) -> AsyncGenerator[Frame, None]:
        prepared = await self._admission.read(lambda: self._prepare(request))
        if not prepared.request.prompts:
            return _nothing(prepared)
        handle = self._engine.submit(prepared.request)
        return Closing(_frames(handle.events(), prepared, stream=request.stream), handle.cancel)

    def _prepare(self, request: TaskRequest) -> _Prepared:
        fields, model = request.fields, self.model
        sampling = resolve_sampling(fields, model.generation_defaults, samples=self.samples)
        inputs = self.read(fields)
        prompts, warnings = [], []
        echoes = []
        for item in inputs.items:
            fitted, cut = _cut(item, fields, model.room, inputs.field)
            length = resolve_length(
                fields, model.generation_defaults, prompt=len(fitted.ids), room=model.room, field=inputs.field
            )
            prompts.append(_prompt(fitted, length))
            echoes.append(self.decode(fitted.ids) if cut and item.echo else item.echo)
            warnings += [*cut, *length.warnings]
        seed = fields.get("seed")
        return _Prepared(
            GenerationRequest(
                tuple(prompts),
                replace(sampling, stop=sampling.stop + inputs.stop),
                seed if isinstance(seed, int) else request.seed,
                stream=request.stream,
                batch_size=batch_size(fields),
            ),
            echoes,
            inputs.many,
            _unique(warnings),
        )

    def decode(self, ids: list[int]) -> str:
        """Token ids as text, special tokens left out."""
        text: str = self.model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _prompt(item: Input, length: Length) -> Prompt:
    return Prompt(tuple(item.ids), length.max_new, length.min_new, item.continues)


def _cut(item: Input, fields: Mapping[str, Any], room: Room, field: str) -> tuple[Input, list[dict[str, Any]]]:
    """The input without the end that is too long: for `max_input_length`, or for an encoder."""
    limits = [limit for limit in (fields.get("max_input_length"), room.encoder) if limit is not None]
    limit = min(limits, default=len(item.ids))
    if len(item.ids) <= limit:
        return item, []
    ids = item.ids[:limit]
    if room.encoder_decoder:  # an encoder wants its end token
        ids[-1] = item.ids[-1]
    message = f"The input has {len(item.ids)} tokens; only the first {limit} were read."
    return replace(item, ids=ids), [{"code": "input_truncated", "message": message, "field": field}]


def _unique(warnings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [warning for index, warning in enumerate(warnings) if warning not in warnings[:index]]


async def _nothing(prepared: _Prepared) -> AsyncGenerator[Frame, None]:
    """To an empty list, an empty list."""
    yield _done(Finished((), (), 0), prepared)


async def _frames(
    events: AsyncGenerator[Piece | Finished, None], prepared: _Prepared, *, stream: bool
) -> AsyncGenerator[Frame, None]:
    request = prepared.request
    several = request.sampling.num_return_sequences > 1

    def path(prompt: int, sequence: int) -> tuple[int, ...]:
        return (prompt,) * prepared.many + (sequence,) * several

    try:
        if stream:
            for prompt, echo in enumerate(prepared.echoes):
                for sequence in range(request.sampling.num_return_sequences) if echo else ():
                    yield Delta(echo, path(prompt, sequence))
        async for event in events:
            match event:
                case Piece() if stream:
                    yield Delta(event.text, path(event.prompt, event.sequence))
                case Finished():
                    yield _done(event, prepared)
    finally:
        await events.aclose()


def _done(finished: Finished, prepared: _Prepared) -> Done:
    reasons = [reason for prompt in finished.finish_reasons for reason in prompt]
    return Done(_result(finished, prepared), _usage(finished, prepared.request), prepared.warnings, reasons)


def _result(finished: Finished, prepared: _Prepared) -> Any:
    several = prepared.request.sampling.num_return_sequences > 1
    results: list[Any] = []
    for texts, echo in zip(finished.texts, prepared.echoes, strict=True):
        whole = [echo + text for text in texts]
        results.append(whole if several else whole[0])
    return results if prepared.many else results[0]


def _usage(finished: Finished, request: GenerationRequest) -> dict[str, int]:
    prompt_tokens = sum(len(prompt.ids) for prompt in request.prompts)
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": finished.completion_tokens,
        "total_tokens": prompt_tokens + finished.completion_tokens,
    }
    if request.sampling.do_sample:
        usage["seed"] = request.seed
    return usage
