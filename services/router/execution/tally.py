"""What the calls of a run, or of a part of it, have used and remarked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.wire import Done, FinishReason


@dataclass(slots=True)
class Tally:
    """usage: summed over the calls; `seed` only when there was one. finish_reasons: of every text, call after call."""

    calls: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    finish_reasons: list[FinishReason] = field(default_factory=list)

    def count(self, done: Done) -> None:
        """Add one call."""
        self._add(1, done.usage, done.warnings, done.finish_reasons)

    def __iadd__(self, other: "Tally") -> "Tally":
        if other.calls:
            self._add(other.calls, other.usage, other.warnings, other.finish_reasons)
        return self

    def to_json(self) -> dict[str, Any]:
        """Empty when there was no call."""
        if not self.calls:
            return {}
        return {
            "calls": self.calls,
            "usage": self.usage,
            "warnings": self.warnings,
            "finish_reasons": self.finish_reasons,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Tally":
        """The reverse of `to_json`."""
        return cls(**value)

    def _add(
        self, calls: int, usage: Mapping[str, int], warnings: list[dict[str, Any]], reasons: list[FinishReason]
    ) -> None:
        if not self.calls:
            self.usage = dict(usage)
        else:
            self.usage.pop("seed", None)
            for key, value in usage.items():
                if key != "seed":
                    self.usage[key] = self.usage.get(key, 0) + value
        self.calls += calls
        for warning in warnings:
            if warning not in self.warnings:
                self.warnings.append(warning)
        self.finish_reasons += reasons
