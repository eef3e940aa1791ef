"""Asynchronous runs: accepted into the store, claimed from it, carried out, and finished or given back."""

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from services.errors import ServiceError
from services.router.execution.engine import Engine
from services.router.limits import Pace, has_room
from services.router.messages import Run, RunRequest, new_task_id
from services.router.runs.attempts import Attempts
from services.router.runs.carrying import Carrier, LiveRun
from services.router.store.database import StoreUnavailable
from services.router.store.records import ADDRESS_DIGITS, Claim, client_digest
from services.router.store.run_store import RunStore

T = TypeVar("T")

log = logging.getLogger(__name__)

MOST_ACTIVE = 64
"""Asynchronous runs at work at once where the file sets no number; the others wait in the store."""
BEAT_S = 1.0
RENEW_EVERY = 3
EXPIRE_EVERY = 60
"""In beats. A lease of 10 s outlives two renewals that come to nothing."""
_STORE_S = 5.0
"""How long the store is waited for when somebody waits for us."""
_DRAIN_POLL_S = 0.02


class DurableRuns:
    """most_active: how many this router carries out at once. most_waiting: how many may wait in the store."""

    def __init__(
        self,
        store: RunStore,
        engine: Engine,
        carrier: Carrier,
        *,
        most_active: int,
        most_waiting: int,
        retention_s: float,
    ) -> None:
        self._store = store
        self._engine = engine
        self._carrier = carrier
        self._attempts = Attempts(store, engine, carrier)
        self._most_active = most_active or MOST_ACTIVE
        self._most_waiting = most_waiting
        self._retention_s = retention_s
        self._live: dict[str, LiveRun] = {}
        self._starting = 0
        self._backlog = True
        """Whether runs may wait in the store that could be claimed now."""
        self._closed = False
        self._waiting: Counter[str] = Counter()
        """Runs in the store that wait, by `client_digest`; exact once every beat, and near enough between."""
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._beats = 0
        self._pace = Pace()
        self.claimed = self.recovered = self.lost_leases = 0
        """Since the start: runs taken up, those of them that an earlier router had begun, and runs lost to another."""

    async def start(self) -> None:
        self._store.start()
        with suppress(StoreUnavailable):
            await self._serve()
        self._wake.set()
        self._loops = [asyncio.create_task(self._claim_forever()), asyncio.create_task(self._beat_forever())]

    async def stop(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._store.stop()

    @property
    def active(self) -> int:
        """Runs that this router carries out."""
        return len(self._live)

    @property
    def waiting(self) -> int:
        """Runs in the store that wait, for whichever router; exact once every beat, and near enough between."""
        return self._waiting.total()

    def live(self, task_id: str) -> LiveRun | None:
        """The run of this id while this router carries it out."""
        return self._live.get(task_id)

    def all_live(self) -> list[LiveRun]:
        return list(self._live.values())

    async def submit(self, request: RunRequest, request_id: str, key: str | None) -> Run:
        """Accept a run: it is kept when this returns. With a key that was used before, the run of then.

        Raises ServiceError when the request does not fit, too many wait, the key belongs to another request (409), or
        the store cannot keep the run (503).
        """
        workflow, _ = self._engine.check(request)
        request = replace(request, workflow_id=workflow.id)
        new = Claim(new_task_id(), workflow.id, workflow.digest, request_id, request)
        try:
            async with asyncio.timeout(_STORE_S):
                if key is not None and (run := await self._earlier(new, key)):
                    return run
                run = await self._accept(new, key) or await self._earlier(new, key)
        except (StoreUnavailable, TimeoutError) as error:
            raise store_unavailable(error) from error
        if run is None:  # what had the key has just been forgotten
            raise store_unavailable()
        return run

    async def _accept(self, new: Claim, key: str | None) -> Run | None:
        """Begin a run at once when nobody waits for a free place, else let it wait; None: its key is in use."""
        if self._free > 0 and not self._backlog:
            self._starting += 1
            try:
                accepted = await self._store.accept(new, key, take=True)
            finally:
                self._starting -= 1
            if not accepted:
                return None
            run = self._begin(new).run
            await asyncio.sleep(0)  # so that it shows whether it had to wait
            return run
        client = client_digest(new.request.client)
        self._refuse_when_full(client)
        self._waiting[client] += 1
        if not await self._store.accept(new, key, take=False):
            return None
        self._backlog = True
        self._wake.set()
        return self._attempts.run_of(new)

    async def _earlier(self, new: Claim, key: str | None) -> Run | None:
        """The run of an earlier request with this key; raises ServiceError 409 when that was another request."""
        found = await self._store.earlier(new, key)
        if found is None:
            return None
        run, same = found
        if not same:
            raise _key_reused()
        live = self._live.get(run.task_id)
        return run if live is None else live.run

    def _refuse_when_full(self, client: str) -> None:
        waiting = self._waiting.total()
        others = [name for name, count in self._waiting.items() if count > 0]
        address_waits = any(name.startswith(client[:ADDRESS_DIGITS]) for name in others)
        if not has_room(waiting, self._most_waiting, client_waits=client in others, address_waits=address_waits):
            raise self._pace.refusal("The router", waiting, self._most_active, status=503, code="overloaded")

    async def drain(self, timeout_s: float) -> None:
        """Wait for the runs at work, then give back to the store what has not ended: the next router goes on there.

        What lives only in this process is begun too, as long as there is time.
        """
        self._closed = self._store.durable
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._live or (self._backlog and not self._closed):  # noqa: ASYNC110  # once in a life
                    await asyncio.sleep(_DRAIN_POLL_S)
        self._closed = True
        unfinished = [live for live in self._live.values() if not live.run.status.finished]
        for live in unfinished:
            live.task.cancel()
        if self._live:
            await asyncio.wait([live.task for live in self._live.values()], timeout=_STORE_S)
        if unfinished:
            with suppress(StoreUnavailable):  # then their leases run out
                await self._store.hand_back([live.run.task_id for live in unfinished])

    async def beat(self) -> None:
        """What is done every second: hold on to what is ours, end what is wanted no more, forget what is old."""
        self._beats += 1
        self._wake.set()
        if self._beats % RENEW_EVERY == 0:
            await self._serve()
        if self._live:
            if self._beats % RENEW_EVERY == 0:
                await self._renew()
            for task_id in await self._store.asked_to_end():
                if live := self._live.get(task_id):
                    live.cancel()
        self._waiting = Counter(await self._store.waiting())
        if self._carrier.run_timeout_s is not None:
            await self._store.end_overdue(self._carrier.run_timeout_s, self._carrier.too_late())
        if self._beats % EXPIRE_EVERY == 0 and await self._store.expire(self._retention_s):
            self._beats -= 1

    @property
    def _free(self) -> int:
        return 0 if self._closed else self._most_active - len(self._live) - self._starting

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self.beat()
            except StoreUnavailable as error:
                log.warning("the store of runs cannot be used just now: %s", error)
            except Exception:
                log.exception("the runs of the store cannot be looked after")

    async def _claim_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if (free := self._free) <= 0:
                continue
            try:
                claims = await self._store.claim(free)
            except Exception as error:
                if not isinstance(error, StoreUnavailable):
                    log.exception("no run can be claimed")
                continue  # the next beat tries again
            if self._closed:
                with suppress(StoreUnavailable):  # then their leases run out
                    await self._store.hand_back([claim.task_id for claim in claims])
                continue
            self._backlog = len(claims) == free
            self._waiting.subtract(client_digest(claim.request.client) for claim in claims)
            for claim in claims:
                if claim.task_id not in self._live:
                    self.recovered += claim.attempts > 1
                    self._begin(claim)

    async def _serve(self) -> None:
        await self._store.serve(workflow.digest for workflow in self._engine.graph.workflows.values())

    async def _renew(self) -> None:
        held = list(self._live.values())
        ours = await self._store.renew(live.run.task_id for live in held)
        for live in held:
            if live.run.task_id not in ours and not live.run.status.finished:
                self.lost_leases += 1
                live.task.cancel()  # another router goes on with it

    def _begin(self, claim: Claim) -> LiveRun:
        self.claimed += 1
        run = self._attempts.run_of(claim)
        live = LiveRun(run, asyncio.create_task(self._carry_out(claim, run)))
        self._live[run.task_id] = live
        live.task.add_done_callback(lambda _: self._has_ended(run.task_id))
        return live

    def _has_ended(self, task_id: str) -> None:
        del self._live[task_id]
        if self._backlog:
            self._wake.set()

    async def _carry_out(self, claim: Claim, run: Run) -> None:
        began_s = asyncio.get_running_loop().time()
        await self._attempts.carry_out(claim, run)
        self._pace.took(asyncio.get_running_loop().time() - began_s)


def store_unavailable(error: Exception | None = None) -> ServiceError:
    """What a client is told; the log has the reason."""
    if error is not None:
        log.warning("the store of runs cannot be used just now: %s", str(error) or f"no answer within {_STORE_S:g} s")
    return ServiceError(
        503,
        "store_unavailable",
        "The database of runs cannot be used just now.",
        hint="Runs that are waited for do not need it; for the others, see the router's log and try again.",
        retry_after_s=2,
    )


def _key_reused() -> ServiceError:
    return ServiceError(
        409,
        "idempotency_key_reused",
        "This Idempotency-Key belongs to another request.",
        hint="Take a new key for each new request, and the same one only to repeat it.",
        field="Idempotency-Key",
    )
