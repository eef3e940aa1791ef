"""Asynchronous runs: accepted means kept, and whoever may carry one out claims it for a while."""

import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from services.errors import ServiceError
from services.router.journal import JobKey
from services.router.messages import Run
from services.router.store import statements as sql
from services.router.store.database import Database, Row, Statement, StoreUnavailable
from services.router.store.records import (
    Claim,
    claim_of,
    client_digest,
    fingerprint,
    labels,
    outcome,
    run_of,
)
from services.router.store.worker import Worker
from services.router.values import to_json

LEASE_S = 10
"""A claimed run whose router has not renewed its lease for so long may be claimed again."""
_EXPIRED_AT_ONCE = 200


class RunStore:
    """Used from one event loop, between `start` and `stop`. Every method may raise StoreUnavailable.

    Times are the database's own, so that several routers agree on them.
    """

    def __init__(self, database: Database) -> None:
        self.durable = database.durable
        self._database = database
        self._owner = secrets.token_hex(16)
        self._shared = bool(database.skip_locked)
        self._claim = sql.CLAIM.format(skip_locked=database.skip_locked)
        reader = database.reader()
        self._writes = Worker(database, "runs-writer")
        self._reads = self._writes if reader is database else Worker(reader, "runs-reader")

    def start(self) -> None:
        for worker in {self._writes, self._reads}:
            worker.start()

    async def stop(self) -> None:
        """Keep what was ordered, then close the database."""
        if self._shared:
            with suppress(StoreUnavailable):  # then the others find out by themselves
                await self._write(self._statement(sql.SERVE_NO_MORE, lease_s=LEASE_S))
        for worker in {self._writes, self._reads}:
            await worker.stop()

    async def accept(self, new: Claim, key: str | None, *, take: bool) -> bool:
        """Keep a new run; it is on the disk when this returns. False: its key is in use.

        take: this router carries it out at once; otherwise it waits to be claimed.
        """

        def build() -> list[Statement]:
            return [
                self._statement(
                    sql.ACCEPT,
                    id=new.task_id,
                    key=key,
                    fingerprint=None if key is None else fingerprint(new.request, new.workflow_id),
                    client=client_digest(new.request.client),
                    workflow=new.workflow_id,
                    digest=new.digest,
                    labels=labels(new.request, new.request_id),
                    request=to_json(new.request.to_json()),
                    status="processing" if take else "pending",
                    owner=self._owner if take else None,
                    attempts=1 if take else 0,
                    lease_s=LEASE_S,
                )
            ]

        return await self._writes.do(build, _any)

    async def earlier(self, new: Claim, key: str | None) -> tuple[Run, bool] | None:
        """The run that was accepted under this key, and whether it was the same request; None: there is none."""

        def read(rows: list[list[Row]]) -> tuple[Run, bool] | None:
            if not rows[0]:
                return None
            *shown, print_ = rows[0][0]
            same = shown[0] == new.task_id or print_ == fingerprint(new.request, new.workflow_id)
            return run_of(tuple(shown)), same

        return await self._reads.do(lambda: [Statement(sql.EARLIER, {"id": new.task_id, "key": key})], read)

    async def waiting(self) -> dict[str, int]:
        """How many runs of each client wait to be claimed, by `client_digest`."""
        return await self._reads.do(lambda: [Statement(sql.WAITING, {})], lambda rows: dict(rows[0]))

    async def claim(self, most: int) -> list[Claim]:
        """Take up to so many runs that wait, or whose router is gone; clients take turns."""
        statement = self._statement(self._claim, most=most, lease_s=LEASE_S)
        return await self._writes.do(lambda: [statement], lambda rows: sorted(map(claim_of, rows[0]), key=_age))

    async def serve(self, digests: Iterable[str]) -> None:
        """Tell the routers that share the database which workflows this one has; to be said again within LEASE_S."""
        if self._shared:
            await self._write(*(self._statement(sql.SERVE, digest=digest) for digest in sorted(set(digests))))

    async def renew(self, task_ids: Iterable[str]) -> set[str]:
        """Hold on to these runs; those that are still ours."""
        renewals = [self._statement(sql.RENEW, id=task_id, lease_s=LEASE_S) for task_id in task_ids]
        return await self._writes.do(lambda: renewals, lambda rows: {found[0][0] for found in rows if found})

    async def asked_to_end(self) -> set[str]:
        """Runs of this router that somebody wants to end, at whichever router they asked."""
        statement = self._statement(sql.ASKED_TO_END)
        return await self._reads.do(lambda: [statement], lambda rows: {row[0] for row in rows[0]})

    async def noted(self, task_id: str) -> dict[JobKey, Mapping[str, Any]]:
        """What has been finished of a run."""
        return await self._writes.do(
            lambda: [Statement(sql.NOTED, {"id": task_id})],
            lambda rows: {JobKey(*key): json.loads(record) for *key, record in rows[0]},
        )

    async def note(self, task_id: str, records: Iterable[tuple[JobKey, Mapping[str, Any]]]) -> None:
        """Keep finished pieces of a run of ours, all or none of them."""

        def build() -> list[Statement]:
            return [
                self._statement(sql.NOTE, id=task_id, record=to_json(record), **key._asdict())
                for key, record in records
            ]

        await self._writes.do(build, _nothing)

    async def finish(self, run: Run) -> bool:
        """Keep the last state of a run of ours; False: it is not ours any more."""

        def build() -> list[Statement]:
            return [
                self._statement(
                    sql.FINISH, id=run.task_id, status=run.status, outcome=outcome(run), output=to_json(run.output)
                ),
                Statement(sql.FORGET_JOBS, {"id": run.task_id}),
            ]

        return await self._writes.do(build, _any)

    async def hand_back(self, task_ids: Iterable[str], delay_s: float = 0) -> None:
        """Let runs of ours wait again, at least so long, as if they had not been claimed; what they have finished stays
        noted."""
        handed = [self._statement(sql.HAND_BACK, id=task_id, delay_s=delay_s) for task_id in task_ids]
        await self._writes.do(lambda: handed, _nothing)

    async def cancel(self, task_id: str, error: ServiceError) -> Run | None:
        """Ask for the end of a run; one that waits has ended then. None: it had ended already."""
        statements = [
            Statement(sql.CANCEL, {"id": task_id, "outcome": _failed(error)}),
            Statement(sql.FORGET_JOBS, {"id": task_id}),
        ]
        return await self._writes.do(lambda: statements, _run)

    async def end_overdue(self, timeout_s: float, error: ServiceError) -> None:
        """Fail the runs that have waited for longer than they may take."""
        statement = Statement(sql.END_OVERDUE, {"timeout_s": timeout_s, "outcome": _failed(error)})
        await self._writes.do(lambda: [statement], _nothing)

    async def get(self, task_id: str) -> Run | None:
        return await self._reads.do(lambda: [Statement(sql.GET, {"id": task_id})], _run)

    async def recent(self, most: int, before: str) -> list[Run]:
        """The newest runs with ids before this one, newest first, without their outputs."""
        statement = Statement(sql.RECENT, {"most": most, "before": before})
        return await self._reads.do(lambda: [statement], lambda rows: list(map(run_of, rows[0])))

    async def expire(self, retention_s: float) -> bool:
        """Forget some of the runs that ended so long ago; whether there may be more."""

        def read(rows: list[list[Row]]) -> bool:
            if rows[0]:
                self._database.shrink()
            return len(rows[0]) == _EXPIRED_AT_ONCE

        statement = Statement(sql.EXPIRE, {"retention_s": retention_s, "most": _EXPIRED_AT_ONCE})
        return await self._writes.do(lambda: [statement], read)

    async def _write(self, *statements: Statement) -> None:
        await self._writes.do(lambda: statements, _nothing)

    def _statement(self, text: str, **parameters: Any) -> Statement:
        return Statement(text, {"owner": self._owner, **parameters})


def _nothing(_: list[list[Row]]) -> None:
    pass


def _any(rows: list[list[Row]]) -> bool:
    return bool(rows[0])


def _run(rows: list[list[Row]]) -> Run | None:
    return run_of(rows[0][0]) if rows[0] else None


def _age(claim: Claim) -> float:
    return -claim.age_s


def _failed(error: ServiceError) -> str:
    """The outcome of a run that ends without having run."""
    return to_json({"error": error.to_json(), "error_status": error.status})
