"""Which environment values are nobody's business: they reach no child and no line of output."""

import re
from collections.abc import Iterable, Mapping

_SECRET_NAME = re.compile(r"TOKEN(?!I[SZ](E|ATION|ING))|KEY|SECRET|PASSWORD|_HEADERS$", re.IGNORECASE)
"""A tokenizer cuts text into pieces, and TOKENIZERS_PARALLELISM tells how."""
SHORTEST = 6
"""A shorter value is no secret worth the name, and hiding it would hide ordinary words."""

REDACTED = "***"


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret by convention, such as HF_TOKEN or OTEL_EXPORTER_OTLP_HEADERS."""
    return _SECRET_NAME.search(name) is not None


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a child may see."""
    return {name: value for name, value in environ.items() if not is_secret_name(name)}


class Redactor:
    """Replaces the values of secret variables in any text."""

    def __init__(self, *environs: Mapping[str, str]) -> None:
        values = {value for environ in environs for value in _secret_values(environ)}
        longest_first = sorted(values, key=lambda value: (-len(value), value))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text) if self._pattern else text


def _secret_values(environ: Mapping[str, str]) -> Iterable[str]:
    return (value for name, value in environ.items() if is_secret_name(name) and len(value) >= SHORTEST)
