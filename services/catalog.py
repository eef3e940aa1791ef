"""The tasks we serve, as data: names, fields and parameters with their ranges, without loading any framework.

The file's reader checks literals against it at load, the router coerces rendered values with it at run, and a task
trusts what passed it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "text", "text-or-list", "messages", "integer", "number", "boolean", "text-list", "early-stopping", "seed"
]

MAX_SEED = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly."""

MAX_COUNT = 2**31 - 1
"""No number of tokens or inputs comes near it, and every library can count so far."""

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Field:
    """One value an action may carry. `minimum` and `maximum` are inclusive unless `above` says the minimum is not."""

    name: str
    kind: Kind
    description: str
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False

    def coerce(self, value: Any) -> Any:
        """The value in this field's type; text that reads as it is accepted.

        Raises ValueError with a phrase that completes "NAME ...", such as "must be a number, not 'warm'".
        """
        match self.kind:
            case "text":
                return _text(value)
            case "text-or-list":
                return [_text(item) for item in value] if isinstance(value, list) else _text(value)
            case "text-list":
                return [_text(item) for item in value] if isinstance(value, list) else [_text(value)]
            case "messages":
                return _messages(value)
            case "boolean":
                return _boolean(value)
            case "early-stopping":
                return "never" if value == "never" else _boolean(value)
            case "seed":
                return "random" if value == "random" else self._within(_integer(value))
            case "integer":
                return self._within(_integer(value))
            case "number":
                return self._within(_number(value))

    def _within(self, number: Any) -> Any:
        if self.minimum is not None and (number < self.minimum or (self.above and number == self.minimum)):
            bound = f"{'above' if self.above else 'at least'} {_shown(self.minimum)}"
            raise ValueError(f"must be {bound}, not {_shown(number)}")
        if self.maximum is not None and number > self.maximum:
            raise ValueError(f"must be at most {_shown(self.maximum)}, not {_shown(number)}")
        return number


@dataclass(frozen=True, slots=True)
class TaskType:
    """One task: where its code is, and what its actions may say."""

    name: str
    module: str
    fields: Mapping[str, Field]
    """What the model reads."""
    parameters: Mapping[str, Field]
    """How it answers; on the action or under `params`."""
    defaults: Mapping[str, Any]
    """Templates for fields that an action leaves out."""
    streams: bool
    result: str
    """Type of one result in an expression's words."""

    def field(self, name: str) -> Field | None:
        """The field or parameter of this name."""
        return self.fields.get(name) or self.parameters.get(name)


def _table(*fields: Field) -> dict[str, Field]:
    return {field.name: field for field in fields}


GENERATION = _table(
    Field("max_output_length", "integer", "new tokens at most", minimum=1, maximum=MAX_COUNT),
    Field("max_length", "integer", "tokens of prompt and continuation at most", minimum=1, maximum=MAX_COUNT),
    Field("min_output_length", "integer", "new tokens at least", minimum=0, maximum=MAX_COUNT),
    Field("max_input_length", "integer", "tokens of the prompt that are kept", minimum=1, maximum=MAX_COUNT),
    Field("temperature", "number", "spread of the sampling; 0 is greedy", minimum=0, maximum=100),
    Field("top_p", "number", "share of probability to sample from", minimum=0, maximum=1, above=True),
    Field("top_k", "integer", "number of tokens to sample from; 0 is all", minimum=0, maximum=MAX_COUNT),
    Field("repetition_penalty", "number", "above 1 discourages repeats", minimum=0.01, maximum=100),
    Field("do_sample", "boolean", "sample, or take the likeliest token"),
    Field("num_return_sequences", "integer", "answers to one input", minimum=1, maximum=64),
    Field("stop_sequences", "text-list", "texts that end the answer"),
    Field("seed", "seed", "a whole number, or random", minimum=0, maximum=MAX_SEED),
    Field("num_beams", "integer", "beams of a beam search", minimum=1, maximum=64),
    Field("length_penalty", "number", "above 0 favours long beams", minimum=-5, maximum=5),
    Field("early_stopping", "early-stopping", "when a beam search ends: true, false or never"),
    Field("pad_token_id", "integer", "accepted, and never used as input"),
    Field("batch_size", "integer", "inputs of one list computed together at most", minimum=1, maximum=MAX_COUNT),
    Field("streaming", "boolean", "send the answer as it is made"),
)

TASKS: dict[str, TaskType] = {
    "chat-completion": TaskType(
        name="chat-completion",
        module="services.tasks.chat_completion",
        fields=_table(Field("messages", "messages", "the conversation so far")),
        parameters={**GENERATION, **_table(Field("reasoning", "boolean", "let the model think aloud first"))},
        defaults={
            "messages": [
                {"role": "system", "content": "${input.system_prompt}"},
                {"role": "user", "content": "${input.user_prompt}"},
            ]
        },
        streams=True,
        result="text",
    ),
    "text-generation": TaskType(
        name="text-generation",
        module="services.tasks.text_generation",
        fields=_table(
            Field("text", "text-or-list", "the prompt; the answer repeats it"),
            Field("prompt", "text-or-list", "the prompt; the answer leaves it out"),
            Field("return_full_text", "boolean", "whether the answer repeats the prompt"),
        ),
        parameters=GENERATION,
        defaults={"text": "${input.prompt as text}"},
        streams=True,
        result="text",
    ),
}

PLANNED_TASKS = (
    "text-to-text",
    "summarization",
    "translation",
    "text-embedding",
    "text-classification",
    "text-reranking",
)
"""Tasks of the field's files that are refused by name instead of as a typo."""


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise ValueError(f"must be text, not {_kind_of(value)}")


def _integer(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise ValueError(f"must be a whole number, not {value!r}") from None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        shown = _shown(value) if isinstance(value, float) else _kind_of(value)
        raise ValueError(f"must be a whole number, not {shown}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a number, not {_kind_of(value)}")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"must be a number, not {value!r}") from None
    except OverflowError:
        raise ValueError("must be a number of reasonable size") from None
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ValueError(f"must be true or false, not {value!r}" if isinstance(value, str) else "must be true or false")


def _messages(value: Any) -> list[dict[str, str]]:
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError("must hold at least one message")
    return [_message(item) for item in items]


def _message(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"must be messages of role and content, not {_kind_of(value)}")
    if value.keys() - {"role", "content"}:
        raise ValueError(f"has a message with an unknown key {min(value.keys() - {'role', 'content'})!r}")
    if value.get("role") not in ROLES:
        raise ValueError(f"has a message whose role is not one of {', '.join(ROLES)}")
    if value.get("content") is None:
        raise ValueError(f"has a {value['role']} message without content")
    return {"role": value["role"], "content": _text(value["content"])}


def _shown(number: float) -> str:
    """As people write it: 7 for 7.0."""
    return f"{number:.15g}" if isinstance(number, float) else str(number)


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"
