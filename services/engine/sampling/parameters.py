"""From an action's parameters, the model's own defaults and ours to the numbers that generation runs with. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.errors import ServiceError

MAX_OUTPUT_LENGTH = 1024
TEMPERATURE = 0.7
TOP_K = 50
TOP_P = 0.9

COLDEST = 1e-5
"""A temperature below this is greedy: dividing by it would overflow a 32-bit float."""

_SPREAD = ("temperature", "top_p", "top_k")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen, in the words of transformers' GenerationConfig; `stop` is cut out of the text."""

    do_sample: bool
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    num_return_sequences: int = 1
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """How many tokens a model can hold; None: without limit. `encoder` is None for a decoder-only model."""

    decoder: int | None
    encoder: int | None = None
    encoder_decoder: bool = False


@dataclass(frozen=True, slots=True)
class Length:
    """New tokens at most and at least, and whether the action asked for more than there is room."""

    max_new: int
    min_new: int
    warnings: tuple[dict[str, Any], ...] = ()


def resolve_sampling(fields: Mapping[str, Any], model: Mapping[str, Any], *, samples: bool = True) -> Sampling:
    """The action's `fields` (catalog names) win over the `model`'s generation_config.json, which wins over ours.

    Whoever names a spread (temperature, top_p, top_k) wants sampling; beams alone mean beam search.
    samples: whether to sample when nobody says anything.
    Raises ServiceError 422 for several sequences where there is only one likeliest.
    """
    values = {**model, **_given(fields)}
    beams = int(values.get("num_beams", 1))
    temperature = float(values.get("temperature", TEMPERATURE))
    do_sample = _wants_sampling(fields, model, samples and beams == 1) and temperature >= COLDEST
    sequences = int(values.get("num_return_sequences", 1))
    if sequences > 1 and sequences > beams and not (do_sample and beams == 1):
        raise ServiceError(
            422,
            "invalid_parameter",
            f'"num_return_sequences" is {sequences}, but without sampling there are only as many answers as beams'
            f' ("num_beams" is {beams}).',
            hint='Set "do_sample" to true and "temperature" above 0, or a higher "num_beams".',
            field="num_return_sequences",
        )
    spread: dict[str, Any] = {}
    if do_sample:
        spread = {
            "temperature": temperature,
            "top_p": float(values.get("top_p", TOP_P)),
            "top_k": int(values.get("top_k", TOP_K)),
        }
    return Sampling(
        do_sample=do_sample,
        **spread,
        repetition_penalty=float(values.get("repetition_penalty", 1.0)),
        num_return_sequences=sequences,
        num_beams=beams,
        length_penalty=float(values.get("length_penalty", 1.0)),
        early_stopping=values.get("early_stopping", False),
        stop=_stop(fields, model),
    )


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _wants_sampling(fields: Mapping[str, Any], model: Mapping[str, Any], default: bool) -> bool:
    given = _given(fields)
    if "do_sample" in given:
        return bool(given["do_sample"])
    if any(name in given for name in _SPREAD):
        return True
    return bool(model.get("do_sample", default))


def _stop(fields: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = fields.get("stop_sequences")
    if wanted is None:
        theirs = model.get("stop_strings") or ()
        wanted = (theirs,) if isinstance(theirs, str) else theirs
    return tuple(text for text in wanted if text)


def resolve_length(
    fields: Mapping[str, Any], model: Mapping[str, Any], *, prompt: int, room: Room, field: str | None = None
) -> Length:
    """How long the answer to a prompt of `prompt` tokens may be.

    `max_length` counts the prompt, except in an encoder-decoder model, whose decoder begins with one token of its own.
    field: what the prompt came from, for the error. Raises ServiceError 422 with the numbers when nothing fits.
    """
    given = _given(fields)
    used = 1 if room.encoder_decoder else prompt
    left = None if room.decoder is None else room.decoder - used
    if left is not None and left <= 0:
        raise ServiceError(
            422,
            "prompt_too_long",
            f"The prompt has {prompt} tokens and the model holds {room.decoder}, so there is no room for an answer.",
            hint='Shorten the prompt, or set "max_input_length".',
            field=field,
        )
    asked = _asked(given, used)
    least = int(given.get("min_output_length", 0))
    possible = min((limit for limit in (asked, left) if limit is not None), default=least)
    if least > possible:
        raise ServiceError(
            422,
            "invalid_parameter",
            f'"min_output_length" is {least}, more than the {possible} new tokens that are possible.',
            hint="Lower it, or shorten the prompt.",
            field="min_output_length",
        )
    wanted = asked if asked is not None else max(_default(model, used), least)
    max_new = wanted if left is None else min(wanted, left)
    min_new = least
    if "min_output_length" not in given:
        min_new = model.get("min_new_tokens", model.get("min_length", used) - used)
    capped = () if asked is None or asked == max_new else (_capped(given, asked, max_new),)
    return Length(max_new, max(0, min(min_new, max_new)), capped)


def _asked(given: Mapping[str, Any], used: int) -> int | None:
    """New tokens the action asks for: the smaller of its two limits."""
    limits = []
    if "max_output_length" in given:
        limits.append(int(given["max_output_length"]))
    if "max_length" in given:
        total = int(given["max_length"])
        if total <= used:
            raise ServiceError(
                422,
                "prompt_too_long",
                f'The prompt has {used} tokens and "max_length" is {total}, so there is no room for an answer.',
                hint='Shorten the prompt, or raise "max_length".',
                field="max_length",
            )
        limits.append(total - used)
    return min(limits, default=None)


def _default(model: Mapping[str, Any], used: int) -> int:
    if model.get("max_new_tokens"):
        return int(model["max_new_tokens"])
    if (model.get("max_length") or 0) > used:
        return int(model["max_length"]) - used
    return MAX_OUTPUT_LENGTH


def _capped(given: Mapping[str, Any], asked: int, max_new: int) -> dict[str, Any]:
    field = "max_output_length" if given.get("max_output_length") == asked else "max_length"
    return {
        "code": "output_capped",
        "message": f'"{field}" allows {asked} new tokens, but the model has room for {max_new}; the answer ends there.',
        "field": field,
    }
