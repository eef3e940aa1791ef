"""What every task does alike with the fields of a request: one refusal for what is absent, one for what is no text."""

from collections.abc import Mapping
from typing import Any

from services.errors import ServiceError


def missing(task: str, field: str, *, or_else: str | None = None) -> ServiceError:
    """The refusal of a request without a field; or_else: another field that would do."""
    needed = f'"{field}"' if or_else is None else f'"{field}" or "{or_else}"'
    return ServiceError(422, "missing_field", f"{task} needs {needed}.", field=field)


def not_unicode(where: str) -> ServiceError:
    """The refusal of a text with half a character; `where` is as the user would name it."""
    return ServiceError(422, "invalid_text", f'"{where}" is not valid Unicode.', field=where)


def batch_size(fields: Mapping[str, Any]) -> int:
    """Inputs of one request that are computed together at most; 0: the engine decides."""
    return int(fields.get("batch_size") or 0)
