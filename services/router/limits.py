"""How many requests run at once and how many may wait: clients take turns, so none of them fills the queue for all."""

import asyncio
import functools
import ipaddress
import math
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from services.errors import ServiceError

_FIRST_GUESS_S = 1.0
_LONGEST_WAIT_S = 300
_WEIGHT = 0.2
"""Share of the newest observation in the mean service time."""

_Line = tuple[str, bool]
"""A client, and whether this is what it has in the background."""


class Pace:
    """How long requests took lately, and so when one that is refused should come again."""

    def __init__(self) -> None:
        self._mean_s = _FIRST_GUESS_S

    def took(self, seconds: float) -> None:
        self._mean_s += _WEIGHT * (seconds - self._mean_s)

    def refusal(self, what: str, waiting: int, at_once: int, *, status: int, code: str) -> ServiceError:
        """The error for one more than `waiting` requests, of which so many are served at once."""
        waves = (waiting + 1) / at_once
        retry_after_s = min(max(math.ceil(self._mean_s * waves), 1), _LONGEST_WAIT_S)
        return ServiceError(
            status,
            code,
            f"{what} is busy, and {waiting} already wait.",
            hint=f"Try again in {retry_after_s} s.",
            retry_after_s=retry_after_s,
        )


def has_room(waiting: int, most: int, *, client_waits: bool, address_waits: bool) -> bool:
    """Whether one more may wait.

    Beyond `most`, a client that has nothing waiting still gets a place, up to an eighth of it in all, and up to a
    quarter where nothing of its address waits: no client's flood keeps the others out, and no address can make itself
    many clients to do so.
    """
    share = 0 if client_waits else most // 8 if address_waits else most // 4
    return waiting < most + share


def address_of(client: str) -> str:
    """The address of a client, which is the address alone or `address/session`.

    Of IPv6 it is the network: whoever has one address of a /64 has them all. IPv4 through a socket of both families is
    IPv4.
    """
    address = client.partition("/")[0]
    return _network(address) if ":" in address else address


@functools.lru_cache(4096)
def _network(address: str) -> str:
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or ipaddress.IPv6Address(int(found) >> 64 << 64))


class Gate:
    """`async with gate.turn(client):` waits for its turn.

    Addresses of waiting clients take turns, and so do the clients of an address; one client's requests are first come,
    first served. What a client has in the background is a line of its own, so that what it waits for does not stand
    behind it.

    max_concurrent: 0 lets everything pass at once.
    max_queue: how many may wait, see `has_room`; the next one is refused with `status` and a Retry-After computed from
        the mean time that requests took lately.
    on_waited: called with the seconds that each request waited, 0 for one that did not.
    """

    def __init__(
        self,
        what: str,
        max_concurrent: int,
        max_queue: int,
        *,
        status: int,
        code: str,
        on_waited: Callable[[float], None] | None = None,
    ) -> None:
        self.on_waited = on_waited
        self.active = 0
        self._what = what
        self._max_concurrent = max_concurrent
        self._max_queue = max_queue
        self._status = status
        self._code = code
        self._lines: dict[str, dict[_Line, deque[_Turn]]] = {}
        """Those who wait, by address; the first line of the first address is the next to be served, and none is
        empty."""
        self._bounded = 0
        """How many of them count against max_queue."""
        self._pace = Pace()

    @property
    def queued(self) -> int:
        return sum(len(line) for lines in self._lines.values() for line in lines.values())

    def turn(self, client: str = "", patient: bool = False, follows: bool = False) -> "_Turn":
        """Entering it raises ServiceError at once when too many wait already.

        client: with whom a request shares its turns.
        patient: wait however many do, and do not count among them: for what has been accepted to run in the background.
        follows: the same, in the client's own line: for what belongs to a request that was let in.
        """
        return _Turn(self, (client, patient), patient or follows)

    def check(self, client: str = "") -> None:
        """Raises what an impatient turn would raise now."""
        if self._is_full and not self._may_wait(client):
            raise self._refusal()

    @property
    def _is_full(self) -> bool:
        return 0 < self._max_concurrent <= self.active

    def _may_wait(self, client: str) -> bool:
        lines = self._lines.get(address_of(client), {})
        return has_room(
            self._bounded,
            self._max_queue,
            client_waits=(client, False) in lines,
            address_waits=any(not in_background for _, in_background in lines),
        )

    def _enter(self, turn: "_Turn") -> None:
        """Raises ServiceError; afterwards the turn has come or waits."""
        if not self._is_full:
            self.active += 1
            turn.come()
            return
        if turn.counts:
            if not self._may_wait(turn.line[0]):
                raise self._refusal()
            self._bounded += 1
        self._lines.setdefault(turn.address, {}).setdefault(turn.line, deque()).append(turn)

    def _leave(self, turn: "_Turn") -> None:
        """Out of the queue before the turn has come."""
        lines = self._lines[turn.address]
        line = lines[turn.line]
        line.remove(turn)
        if not line:
            del lines[turn.line]
        if not lines:
            del self._lines[turn.address]
        self._bounded -= turn.counts

    def _release(self, served_s: float | None) -> None:
        """Hand the place on; `active` stays then, because the place stays taken."""
        if served_s is not None:
            self._pace.took(served_s)
        if not self._lines:
            self.active -= 1
            return
        lines = self._lines.pop(next(iter(self._lines)))
        line = lines.pop(next(iter(lines)))
        turn = line.popleft()
        if line:
            lines[turn.line] = line
        if lines:
            self._lines[turn.address] = lines
        self._bounded -= turn.counts
        turn.come()

    def _refusal(self) -> ServiceError:
        return self._pace.refusal(self._what, self.queued, self._max_concurrent, status=self._status, code=self._code)


class _Turn:
    """One request's way through a gate."""

    __slots__ = ("_came", "_came_s", "_gate", "counts", "line")

    def __init__(self, gate: Gate, line: _Line, welcome: bool) -> None:
        self.line = line
        self.counts = not welcome
        self._gate = gate
        self._came: asyncio.Future[None] | None = None
        self._came_s: float | None = None

    @property
    def address(self) -> str:
        return address_of(self.line[0])

    def come(self) -> None:
        self._came_s = time.monotonic()
        if self._came is not None and not self._came.done():
            self._came.set_result(None)

    async def __aenter__(self) -> None:
        began_s = time.monotonic()
        self._gate._enter(self)
        if self._came_s is None:
            await self._wait()
        if self._gate.on_waited is not None:
            self._gate.on_waited(time.monotonic() - began_s)

    async def _wait(self) -> None:
        self._came = asyncio.get_running_loop().create_future()
        try:
            await self._came
        except asyncio.CancelledError:
            if self._came_s is None:
                self._gate._leave(self)
            else:  # the turn had come in the same moment
                self._gate._release(None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._came_s is not None
        self._gate._release(time.monotonic() - self._came_s if kind is None else None)
