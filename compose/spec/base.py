"""What every block of a spec is, and how the one that is meant is found."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A block of the file: closed and frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class _Selectable(Protocol):
    @property
    def default(self) -> bool: ...


S = TypeVar("S", bound=_Selectable)


def chosen(items: Sequence[S]) -> S | None:
    """The one that is meant when none is named: the only one, else the only one with `default: true`."""
    candidates = items if len(items) == 1 else [item for item in items if item.default]
    return candidates[0] if len(candidates) == 1 else None
