"""What the store asks of a database: batches of statements, each batch kept as a whole or not at all."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

SCHEMA_VERSION = 2


class StoreError(Exception):
    """The database cannot be used at all; `message` and `hint` are ours and may be shown on a terminal.

    may_pass: another start may find it as it should be.
    """

    def __init__(self, message: str, hint: str, *, may_pass: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.may_pass = may_pass


class StoreUnavailable(Exception):  # noqa: N818  # a state that passes, not a mistake
    """The database did not do what was asked just now: the disk is full, the server is away."""


class Statement(NamedTuple):
    """SQL that both databases understand, with `:name` parameters; it returns rows, so that all are read in one way.

    `seconds()` in it is the database's clock as epoch seconds.
    """

    sql: str
    parameters: Mapping[str, Any]


Row = tuple[Any, ...]


class Database(Protocol):
    """One connection, used by one thread at a time."""

    durable: bool
    """Whether what is kept survives this process."""
    skip_locked: str
    """What a `select` ends with to pass over the rows that another router is taking."""

    def execute(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of each statement. All are one transaction, which is on the disk when this returns.

        Raises StoreUnavailable.
        """
        ...

    def reader(self) -> "Database":
        """Another connection that only reads, or this one where there cannot be two."""
        ...

    def shrink(self) -> None:
        """Give some of the room that deleted rows have left back to the disk."""
        ...

    def close(self) -> None: ...


def other_version(found: int) -> StoreError:
    """The sentence about a schema that this version did not make."""
    return StoreError(
        f"the database of runs has the layout of another version of model-compose ({found}, this one uses "
        f"{SCHEMA_VERSION})",
        "use that version to finish its runs, or give `controller.database` another place",
        may_pass=False,
    )
