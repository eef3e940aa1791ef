"""What an OpenAI client asks for, in our own words: what we cannot do is refused by name, never passed over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.catalog import TASKS
from services.errors import ServiceError
from services.router.messages import short_session, small_metadata
from services.router.names import did_you_mean

_PARAMETERS = {
    "max_tokens": "max_output_length",
    "n": "num_return_sequences",
    "seed": "seed",
    "stop": "stop_sequences",
    "temperature": "temperature",
    "top_p": "top_p",
}
"""What the client may set, and the name of our parameter."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
}
"""What we cannot do, with the values beside null that do not ask for it."""

_NOTES = ("user", "metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier")
"""About the client and how its answers are stored, not about the answer; `user` and `metadata` stay with the run."""

_MESSAGE_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "annotations": ([],),
    "audio": (),
    "function_call": (),
    "name": (),
    "refusal": (),
    "tool_calls": ([],),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """The body of one address: what the task reads is in `content`; parameters and neutral values as above.

    own: keys of this address alone.
    """

    task: str
    path: str
    content: str
    parameters: Mapping[str, str]
    neutral: Mapping[str, tuple[Any, ...]]
    own: tuple[str, ...] = ("stream", "stream_options")

    @property
    def keys(self) -> tuple[str, ...]:
        return ("model", self.content, *self.own, *self.parameters, *self.neutral, *_NOTES)


CHAT = Dialect(
    "chat-completion",
    "/v1/chat/completions",
    "messages",
    {**_PARAMETERS, "max_completion_tokens": "max_output_length"},
    {
        **_NEUTRAL,
        "audio": (),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "logprobs": (False,),
        "modalities": (["text"],),
        "moderation": (),
        "parallel_tool_calls": (True, False),
        "prediction": (),
        "reasoning_effort": (),
        "response_format": ({"type": "text"},),
        "service_tier": ("auto", "default"),
        "store": (False,),
        "tool_choice": ("none", "auto"),
        "tools": ([],),
        "top_logprobs": (0,),
        "verbosity": ("medium",),
        "web_search_options": (),
    },
)
COMPLETIONS = Dialect(
    "text-generation",
    "/v1/completions",
    "prompt",
    {**_PARAMETERS, "echo": "return_full_text"},
    {**_NEUTRAL, "best_of": (1,), "logprobs": (), "suffix": ("",)},
)
EMBEDDINGS = Dialect("text-embedding", "/v1/embeddings", "input", {}, {"dimensions": ()}, own=("encoding_format",))
DIALECTS = {dialect.task: dialect for dialect in (CHAT, COMPLETIONS, EMBEDDINGS)}

_ENCODING_FORMATS = ("float", "base64")


@dataclass(frozen=True, slots=True)
class Order:
    """One request, checked.

    model: a component's id or a model's name.
    fields: what the task reads and the parameters that the client set, by catalog name.
    names: how the client calls our parameters.
    prompts, n: the answer has `n` choices for each of so many prompts.
    base64: whether vectors are wanted as bytes.
    """

    model: str
    fields: Mapping[str, Any]
    names: Mapping[str, str]
    prompts: int
    n: int
    stream: bool
    include_usage: bool
    user: str | None
    metadata: Mapping[str, Any] | None
    base64: bool = False


def parse_order(body: Any, dialect: Dialect) -> Order:
    """The typed form of a body; raises ServiceError 400 that names the parameter in `field`."""
    if not isinstance(body, dict):
        raise ServiceError(400, "invalid_body", "The body must be a JSON object.")
    for key, value in body.items():
        if key not in dialect.keys:
            hint = did_you_mean(key, dialect.keys)
            raise ServiceError(400, "unknown_parameter", f'Unknown parameter "{key[:80]}".', hint=hint, field=key[:80])
        _check_neutral(key, value, dialect.neutral, key)
    names = {ours: theirs for theirs, ours in dialect.parameters.items() if body.get(theirs) is not None}
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        message = '"max_tokens" and "max_completion_tokens" mean the same.'
        raise ServiceError(400, "invalid_value", message, hint="Leave one of them out.", field="max_tokens")
    fields = {ours: _coerced(dialect, ours, body[theirs], theirs) for ours, theirs in names.items()}
    prompts = _read_content(body, dialect, fields)
    stream = _typed(body, "stream", bool, "true or false") or False
    return Order(
        _typed({"model": _required(body, "model")}, "model", str, "text"),
        fields,
        names,
        prompts,
        fields.get("num_return_sequences", 1),
        stream,
        _include_usage(body, stream),
        _checked(short_session, _typed(body, "user", str, "text"), "user"),
        _checked(small_metadata, _typed(body, "metadata", dict, "an object"), "metadata"),
        _encoding_format(body) == "base64",
    )


def _read_content(body: Mapping[str, Any], dialect: Dialect, fields: dict[str, Any]) -> int:
    """Put what the task reads into `fields`; returns how many prompts that is."""
    if dialect is EMBEDDINGS:
        given = _texts(_required(body, "input"), "input")
        fields["text"] = texts = given if isinstance(given, list) else [given]
        return len(texts)
    fields.setdefault("num_return_sequences", 1)
    if dialect is CHAT:
        fields["messages"] = _messages(_required(body, "messages"))
        return 1
    fields.setdefault("return_full_text", False)
    fields["prompt"] = prompt = _texts(_required(body, "prompt"), "prompt")
    return len(prompt) if isinstance(prompt, list) else 1


def _check_neutral(key: str, value: Any, neutral: Mapping[str, tuple[Any, ...]], place: str) -> None:
    if value is None or key not in neutral or value in neutral[key]:
        return
    raise ServiceError(400, "unsupported_parameter", f'"{place}" is not supported.', hint="Leave it out.", field=place)


def _invalid(place: str, why: str) -> ServiceError:
    return ServiceError(400, "invalid_value", f'"{place}" {why[:300]}.', field=place)


def _required(body: Mapping[str, Any], key: str) -> Any:
    if body.get(key) is None:
        raise ServiceError(400, "missing_required_parameter", f'"{key}" is missing.', field=key)
    return body[key]


def _typed(body: Mapping[str, Any], key: str, kind: type, expected: str) -> Any:
    value = body.get(key)
    if value is None or isinstance(value, kind):
        return value
    raise _invalid(key, f"must be {expected}")


def _coerced(dialect: Dialect, name: str, value: Any, place: str) -> Any:
    field = TASKS[dialect.task].field(name)
    assert field is not None
    return _checked(field.coerce, value, place)


def _checked(check: Callable[[Any], Any], value: Any, place: str) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise _invalid(place, str(error)) from None


def _include_usage(body: Mapping[str, Any], stream: bool) -> bool:
    options = _typed(body, "stream_options", dict, "an object")
    if options is None:
        return False
    if not stream:
        raise _invalid("stream_options", 'needs "stream": true')
    for key in options:
        if key not in ("include_usage", "include_obfuscation"):
            raise ServiceError(
                400, "unknown_parameter", f'Unknown parameter "stream_options.{key[:80]}".', field="stream_options"
            )
    return bool(_typed(options, "include_usage", bool, "true or false"))


def _messages(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise _invalid("messages", "must be a list with at least one message")
    return [_message(item, f"messages[{index}]") for index, item in enumerate(value)]


def _message(value: Any, place: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _invalid(place, "must be an object of role and content")
    for key, item in value.items():
        if key not in ("role", "content", *_MESSAGE_NEUTRAL):
            raise ServiceError(
                400, "unknown_parameter", f'Unknown parameter "{place}.{key[:80]}".', field=f"{place}.{key[:80]}"
            )
        _check_neutral(key, item, _MESSAGE_NEUTRAL, f"{place}.{key}")
    role = "system" if value.get("role") == "developer" else value.get("role")
    if role not in ("system", "user", "assistant"):
        raise _invalid(f"{place}.role", "must be system, developer, user or assistant")
    return {"role": role, "content": _content(value.get("content"), f"{place}.content")}


def _content(value: Any, place: str) -> str:
    """A text, or the texts of a list of parts on lines of their own."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise _invalid(place, "must be text or a list of text parts")
    texts = []
    for index, part in enumerate(value):
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise _invalid(f"{place}[{index}]", 'must be {"type": "text", "text": ...}; other parts are not supported')
        texts.append(part["text"])
    return "\n".join(texts)


def _texts(value: Any, place: str) -> str | list[str]:
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise _invalid(place, "must be text or a list of texts; token ids are not supported")
    return texts if isinstance(value, list) else str(value)


def _encoding_format(body: Mapping[str, Any]) -> str | None:
    value: str | None = body.get("encoding_format")
    if value is not None and value not in _ENCODING_FORMATS:
        raise _invalid("encoding_format", f"must be {' or '.join(_ENCODING_FORMATS)}")
    return value
