"""The way from a request to its answer that all tasks with an encoder go: texts, tokens, rows of numbers, a result."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.closing import Closing
from services.engine.base import Encoded, EncoderInput, EncodingEngine, EncodingRequest
from services.errors import ServiceError
from services.settings import TaskSettings
from services.tasks.admission import Admission, Steps
from services.tasks.fields import missing, not_unicode
from services.wire import Done, Frame, TaskRequest

if TYPE_CHECKING:
    from services.engine.loading.encoders import LoadedEncoder

Row = tuple[float, ...]
Item = str | tuple[str, str]

_AT_ONCE = 64
"""Texts that are made into tokens before another request may have its turn."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What one request holds: texts, or pairs of them. place: of text `i`, as the user would name it."""

    items: Sequence[Item]
    place: Callable[[int], str]

    @classmethod
    def of(cls, fields: Mapping[str, Any], field: str, task: str) -> tuple["Texts", bool]:
        """The text or texts of a field, and whether they were a list; raises ServiceError 422 when it is absent."""
        given = fields.get(field)
        if given is None:
            raise missing(task, field)
        if isinstance(given, list):
            return cls(given, lambda index: f"{field}[{index}]"), True
        return cls([given], lambda _index: field), False

    def part(self, start: int, end: int) -> "Texts":
        """Some of them, which keep their places."""
        return Texts(self.items[start:end], lambda index: self.place(start + index))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request for the engine, and how its rows become the result."""

    request: EncodingRequest
    result: Callable[[Sequence[Row]], Any]
    warnings: list[dict[str, Any]]


class EncoderTask(ABC):
    """A Task that makes one row of numbers of each text; each kind says which texts, and what the rows mean."""

    def __init__(self, settings: TaskSettings, engine: EncodingEngine) -> None:
        self.settings = settings
        self._engine = engine
        self._admission = Admission(engine)
        self.model: LoadedEncoder

    def setup(self, model: "LoadedEncoder") -> None:
        self.model = model

    @abstractmethod
    def prepare(self, fields: Mapping[str, Any]) -> Steps[Prepared]:
        """Raises ServiceError 422 for fields that make no request."""

    async def predict(self, request: TaskRequest) -> AsyncGenerator[Frame, None]:
        prepared = await self._admission.read_in_turns(self.prepare(request.fields))
        if not prepared.request.inputs:
            return _nothing(prepared)
        handle = self._engine.submit(prepared.request)
        return Closing(_frames(handle.events(), prepared), handle.cancel)

    def encode(
        self, texts: Texts, fields: Mapping[str, Any]
    ) -> Steps[tuple[tuple[EncoderInput, ...], list[dict[str, Any]]]]:
        """Token ids of every text, cut to `max_input_length` and to what the model reads, and warnings that say so."""
        inputs: list[EncoderInput] = []
        cut: list[tuple[int, int]] = []
        if texts.items:
            limit = self._limit(fields, pairs=isinstance(texts.items[0], tuple))
        for start in range(0, len(texts.items), _AT_ONCE):
            if start:
                yield
            part = texts.part(start, start + _AT_ONCE)
            more, lengths = self._encode_part(part, limit)
            inputs += more
            cut += [(start + index, length) for index, length in lengths.items()]
        return tuple(inputs), _truncation(cut, limit, texts) if cut else []

    def _encode_part(self, texts: Texts, limit: int | None) -> tuple[list[EncoderInput], dict[int, int]]:
        """The inputs, and of those that were cut the number of tokens before, by their index."""
        encoded = self._tokenize(texts.items, texts)
        lengths = {index: len(ids) for index, ids in enumerate(encoded["input_ids"])}
        long = {index: length for index, length in lengths.items() if limit is not None and length > limit}
        if long:
            cut = self._tokenize([texts.items[index] for index in long], texts, max_length=limit)
            for place, index in enumerate(long):
                for name, rows in cut.items():
                    encoded[name][index] = rows[place]
        if empty := [index for index, length in lengths.items() if length == 0]:
            where = texts.place(empty[0])
            message = f'"{where}" is empty, and the model cannot read nothing.'
            raise ServiceError(422, "empty_text", message, field=where)
        types = encoded.get("token_type_ids")
        inputs = [
            EncoderInput(tuple(ids), None if types is None else tuple(types[index]))
            for index, ids in enumerate(encoded["input_ids"])
        ]
        return inputs, long

    def _tokenize(
        self, items: Sequence[Item], texts: Texts, max_length: int | None = None
    ) -> dict[str, list[list[int]]]:
        """`input_ids`, and `token_type_ids` where the model tells the texts of a pair apart."""
        try:
            encoded = self.model.tokenizer(
                [self._written(item) for item in items],
                truncation="longest_first" if max_length is not None else False,
                max_length=max_length,
                return_attention_mask=False,
                verbose=False,
            )
        except (UnicodeEncodeError, TypeError):
            where = next(texts.place(index) for index, item in enumerate(texts.items) if not is_unicode(item))
            raise not_unicode(where) from None
        names = ("input_ids", "token_type_ids") if isinstance(items[0], tuple) else ("input_ids",)
        return {name: encoded[name] for name in names if name in encoded}

    def _written(self, item: Item) -> Item:
        """The text or texts as the model wants to read them."""
        if isinstance(item, tuple):
            return (item[0].lower(), item[1].lower()) if self.model.lower_case else item
        written = self.model.prompt + item
        return written.lower() if self.model.lower_case else written

    def _limit(self, fields: Mapping[str, Any], *, pairs: bool) -> int | None:
        wanted: int | None = fields.get("max_input_length")
        around = self.model.tokenizer.num_special_tokens_to_add(pair=pairs)
        if wanted is not None and wanted <= around:
            raise ServiceError(
                422,
                "invalid_parameter",
                f'"max_input_length" is {wanted}, and {around} tokens are the model\'s own marks around the text.',
                field="max_input_length",
            )
        return min((limit for limit in (wanted, self.model.limit) if limit is not None), default=None)


def is_unicode(item: Item) -> bool:
    """False for texts with half a character, which JSON can write and no tokenizer reads."""
    try:
        "".join(item).encode()
    except UnicodeEncodeError:
        return False
    return True


def _truncation(cut: Sequence[tuple[int, int]], limit: int | None, texts: Texts) -> list[dict[str, Any]]:
    """One warning, however many texts were cut; `cut` tells their indices and how many tokens they had."""
    index, length = cut[0]
    where = texts.place(index)
    message = f"The input has {length} tokens; only the first {limit} were read."
    if len(cut) > 1:
        where = where.partition("[")[0]
        message = (
            f"{len(cut)} of {len(texts.items)} inputs have more than {limit} tokens, which is what was read of each."
        )
    return [{"code": "input_truncated", "message": message, "field": where}]


async def _nothing(prepared: Prepared) -> AsyncGenerator[Frame, None]:
    yield Done(prepared.result(()), _usage(prepared), prepared.warnings)


async def _frames(events: AsyncGenerator[Encoded, None], prepared: Prepared) -> AsyncGenerator[Frame, None]:
    try:
        async for event in events:
            yield Done(prepared.result(event.rows), _usage(prepared), prepared.warnings)
    finally:
        await events.aclose()


def _usage(prepared: Prepared) -> dict[str, int]:
    tokens = sum(len(item.ids) for item in prepared.request.inputs)
    return {"prompt_tokens": tokens, "total_tokens": tokens}
