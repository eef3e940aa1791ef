"""The values that an action may carry: of what kind each is, and within which bounds."""

from dataclasses import dataclass
from typing import Any, Literal

from services.catalog.values import READERS, kind_of, shown

Kind = Literal[
    "text",
    "text-or-list",
    "text-list",
    "messages",
    "documents",
    "choice",
    "integer",
    "number",
    "boolean",
    "early-stopping",
    "seed",
]

MAX_SEED = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly."""

MAX_COUNT = 2**31 - 1
"""No number of tokens or inputs comes near it, and every library can count so far."""


@dataclass(frozen=True, slots=True)
class Field:
    """One value an action may carry. `minimum` and `maximum` are inclusive unless `above` says the minimum is not.

    choices: the words that a `choice` takes.
    """

    name: str
    kind: Kind
    description: str
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    choices: tuple[str, ...] = ()

    def coerce(self, value: Any) -> Any:
        """The value in this field's type; text that reads as it is accepted.

        Raises ValueError with a phrase that completes "NAME ...", such as "must be a number, not 'warm'".
        """
        if self.kind == "choice":
            return self._choice(value)
        read = READERS[self.kind](value)
        return self._within(read) if isinstance(read, int | float) and not isinstance(read, bool) else read

    def _choice(self, value: Any) -> str:
        if value not in self.choices:
            written = repr(value) if isinstance(value, str) else kind_of(value)
            raise ValueError(f"must be one of {', '.join(self.choices)}, not {written}")
        return str(value)

    def _within(self, number: Any) -> Any:
        if self.minimum is not None and (number < self.minimum or (self.above and number == self.minimum)):
            bound = f"{'above' if self.above else 'at least'} {shown(self.minimum)}"
            raise ValueError(f"must be {bound}, not {shown(number)}")
        if self.maximum is not None and number > self.maximum:
            raise ValueError(f"must be at most {shown(self.maximum)}, not {shown(number)}")
        return number
