"""What the supervisor asks of a runtime: a place for each unit, in which it runs again and again."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from infra.failure import Killer
from infra.state import ProcessId
from infra.unit import Address, Unit

if TYPE_CHECKING:
    from infra.service import Surroundings

OnLine = Callable[[str], None]
"""Takes a line of output."""
Advance = Callable[[Mapping[str, Any]], None]
"""Takes what a unit says of its progress."""


class Running(Protocol):
    """One life of a unit: a process, or a container."""

    @property
    def id(self) -> ProcessId | None:
        """The process on this machine, where there is one that can be seen."""

    @property
    def killer(self) -> Killer:
        """Who ended it, once it has ended by SIGKILL and nobody had asked for that."""

    async def wait(self) -> int:
        """The exit status (negative: the signal), once its output is read and nothing is left of it."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it and all that it started, at once."""


class Place(Protocol):
    """Where one unit is reached, while its lives come and go."""

    @property
    def address(self) -> Address: ...

    @property
    def taken_over(self) -> bool:
        """Whether the unit runs there from before: its next life is the rest of that one."""

    async def start(self, on_line: OnLine) -> Running:
        """A new life. Raises OSError or PassingError when it may work the next time, UserError when it will not."""

    async def until_ready(self, advance: Advance) -> None:
        """Until the unit says that it is ready."""

    async def until_silent(self) -> None:
        """Until a ready unit answers nobody any more."""

    def close(self) -> None:
        """Nothing is started here again."""


class Runtime(Protocol):
    """Where units run."""

    def place(self, unit: Unit, around: "Surroundings") -> Place:
        """Raises UserError when there is none for this unit."""

    def tell(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        """How far each task is, for the router."""
