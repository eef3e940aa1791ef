"""Calls that wait for a component whose service is not there: one that sleeps until it is asked, or changes its pod."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from services.errors import ServiceError
from services.router.clients.client import NotReady
from services.router.graph import Component
from services.router.limits import address_of, has_room
from services.wire import Readiness

log = logging.getLogger(__name__)

WAKE_S = 50.0
"""How long a call waits for a service that sleeps, where the file has no `run_timeout`: less than the minute after
which what stands in front of a server usually gives up, so that a client is told when to come again."""
CHANGE_S = 5.0
"""How long a call waits for another pod of a service that never sleeps: a cluster notices by then that one is gone."""
_LOOK_EVERY_S = 0.25


class Leaving(Exception):  # noqa: N818 - a state
    """This router is about to end, so nobody waits here."""


class Hold:
    """The calls that wait for one component. ask: how far its service is.

    patience_s: how long one may wait. most: of how many runs, see `has_room`; their requests are in memory meanwhile.
    sleeps: wait also while the service says that it loads, and not only while nobody answers.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[Readiness]], *, patience_s: float, most: int, sleeps: bool = False
    ) -> None:
        self._ask = ask
        self._patience_s = patience_s
        self._most = most
        self._sleeps = sleeps
        self._leaving = False
        self._waiting: Counter[tuple[str, str]] = Counter()
        """By client and run."""
        self._watch: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return self._waiting.total()

    def begin(self) -> float:
        """Until when a call may wait whose service has just been missed, by the loop's clock."""
        return asyncio.get_running_loop().time() + self._patience_s

    def leave(self) -> None:
        """End the waiting soon, of those too who come from now on."""
        self._leaving = True

    async def wait(
        self, missed: NotReady, client: str, run: str, until_s: float, refusal: ServiceError | None = None
    ) -> None:
        """Until the service is asked anew. Raises `missed`, or the `refusal` instead of it, when that is hopeless, too
        late, or too many runs wait; Leaving."""
        refusal = refusal or missed
        if missed.lasting or not (self._sleeps or missed.absent) or not self._has_room(client, run):
            raise refusal
        self._waiting[client, run] += 1
        try:
            async with asyncio.timeout_at(until_s):
                await self._answering()
        except TimeoutError:
            raise refusal from None
        finally:
            self._waiting[client, run] -= 1
            if not self._waiting[client, run]:
                del self._waiting[client, run]
        if self._leaving:
            raise Leaving

    def _has_room(self, client: str, run: str) -> bool:
        """A run that waits already is not refused because of its further calls."""
        address = address_of(client)
        return (client, run) in self._waiting or has_room(
            len(self._waiting),
            self._most,
            client_waits=any(other == client for other, _ in self._waiting),
            address_waits=any(address_of(other) == address for other, _ in self._waiting),
        )

    async def _answering(self) -> None:
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look())
        await asyncio.shield(self._watch)

    async def _look(self) -> None:
        """One question for all who wait, at once and then again and again, until the service can say something."""
        while self._waiting and not self._leaving:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                if (await self._ask()).stage in ("ready", "failed"):
                    return
            except Exception:
                log.exception("it cannot be asked whether a service is there")


def hold_of(component: Component, ask: Callable[[], Awaitable[Readiness]], run_timeout_s: float | None) -> Hold | None:
    """None for a service behind a socket of this machine: nobody else answers there, and its supervisor knows more."""
    if component.endpoint.startswith("unix:"):
        return None
    most = component.max_concurrent_count + component.max_queue_length
    if component.may_sleep:
        return Hold(ask, patience_s=run_timeout_s or WAKE_S, most=most, sleeps=True)
    return Hold(ask, patience_s=min(CHANGE_S, run_timeout_s or CHANGE_S), most=most)
