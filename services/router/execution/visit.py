"""One visit of one job: its attempts, in their time, and what becomes of a failure."""

import asyncio
from asyncio import sleep
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.errors import ServiceError
from services.router.clients.client import NotReady
from services.router.execution.calls import Caller
from services.router.execution.context import RunContext
from services.router.execution.fields import render_output
from services.router.execution.pieces import Pieces
from services.router.execution.sending import OnText
from services.router.execution.tally import Tally
from services.router.execution.works import choose, perform
from services.router.expression import MISSING
from services.router.graph import Job, OnError, Router
from services.router.watching import tracing

_PASSING = (408, 429)
"""What may pass though it is below 500: those refusals mean the moment, the others the request."""


@dataclass(slots=True)
class Settled:
    """How a visit ended. output: MISSING when it gives none. ran: whether jobs that wait for it see it as one that has
    run. error: what its `on_error` caught, as `{message, code}`."""

    output: Any = MISSING
    ran: bool = True
    target: str | None = None
    error: Mapping[str, str] | None = None
    tally: Tally = field(default_factory=Tally)

    def to_json(self) -> dict[str, Any]:
        parts = {"ran": self.ran, "target": self.target, "error": self.error, "tally": self.tally.to_json()}
        return parts if self.output is MISSING else {**parts, "output": self.output}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Settled":
        """The reverse of `to_json`."""
        tally = Tally.from_json(value["tally"])
        return cls(value.get("output", MISSING), value["ran"], value["target"], value["error"], tally)


class Visit:
    """A job is tried again only while none of its text has been sent, for that cannot be taken back.

    number: from 1. scope: what the job's expressions read. place: the job's key in the run. send: where its text goes
    while it is made; None keeps it. with_history: the run's history goes into its chat.
    """

    def __init__(
        self,
        context: RunContext,
        job: Job,
        number: int,
        scope: dict[str, Any],
        place: str,
        send: OnText | None,
        with_history: bool,
    ) -> None:
        self._context = context
        self._job = job
        self._scope = scope
        self._place = place if number == 1 else f"{place}.{number}"
        self._send = send
        self._with_history = with_history
        self._pieces = Pieces(context.journal, place, number, Tally(), job.retry is not None)

    async def execute(self) -> Settled:
        """Raises ServiceError when the job fails and has no `on_error`."""
        try:
            with tracing.span(f"job {self._job.id}", job=self._place):
                if self._job.timeout_s is None:
                    return await self._attempts()
                return await self._in_time(self._job.timeout_s)
        except ServiceError as error:
            if self._job.on_error is None or self._goes_on_later(error):
                raise
            return self._caught(self._job.on_error, error)

    async def _in_time(self, timeout_s: float) -> Settled:
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                return await self._attempts()
        except TimeoutError:
            if not deadline.expired():
                raise
            raise ServiceError(
                504,
                "job_timeout",
                f"The job did not end within {timeout_s:g} s.",
                hint="Ask for less, or raise its `timeout` in the file.",
            ) from None

    async def _attempts(self) -> Settled:
        retry = self._job.retry
        if retry is None:
            return await self._attempt(self._caller(1))
        delay_s = retry.delay_s
        for attempt in range(1, retry.max_attempts):
            caller = self._caller(attempt)
            try:
                return await self._attempt(caller)
            except ServiceError as error:
                may_pass = error.status >= 500 or error.status in _PASSING
                if not may_pass or caller.sent or self._goes_on_later(error):
                    raise
            delay_s = min(delay_s, retry.max_delay_s)
            await sleep(delay_s)
            delay_s *= retry.factor
        return await self._attempt(self._caller(retry.max_attempts))

    async def _attempt(self, caller: Caller) -> Settled:
        job = self._job
        if isinstance(job.work, Router):
            return Settled(target=await choose(job.work, job.id, self._scope), tally=self._pieces.tally)
        result = await perform(job.work, self._scope, caller, self._pieces)
        if job.output is not None:
            result = render_output(job.output, {**self._scope, "output": result})
        return Settled(result, tally=self._pieces.tally)

    def _caller(self, attempt: int) -> Caller:
        place = self._place if attempt == 1 else f"{self._place}+{attempt}"
        return Caller(self._context, self._job, place, self._send, self._with_history)

    def _caught(self, on_error: OnError, error: ServiceError) -> Settled:
        caught = {"message": error.message, "code": error.code}
        settled = Settled(ran=on_error.to is None, target=on_error.to, error=caught, tally=self._pieces.tally)
        if on_error.output is not None:
            settled.output = render_output(on_error.output, {**self._scope, "error": caught})
        return settled

    def _goes_on_later(self, error: ServiceError) -> bool:
        """Whether this run is kept and waits until the component is ready, rather than to fail."""
        return self._context.journal is not None and isinstance(error, NotReady) and not error.lasting
