"""How names that people type are compared: `-` and `_` are the same, and a near miss is named."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_NAME = 80
"""Characters; what is longer is nobody's misspelling, and to compare it takes seconds."""


def fold(name: str) -> str:
    """The form in which two spellings of one input name are equal."""
    return name.replace("-", "_")


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    if len(name) > LONGEST_NAME:
        return None
    by_fold = {fold(candidate).lower(): candidate for candidate in known if len(candidate) <= LONGEST_NAME}
    matches = get_close_matches(fold(name).lower(), by_fold, n=1)
    return by_fold[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint for a misspelled name, or None when nothing is near."""
    meant = closest(name, known)
    return f'Did you mean "{meant}"?' if meant is not None else None


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: `"a", "b"`."""
    return ", ".join(f'"{name}"' for name in names)
