"""Asks a service how it is: until it is ready, and then whether it still answers."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from infra import net
from infra.starvation import waited_s
from infra.state import ProcessId
from infra.unit import Address

POLL_INTERVAL_S = 0.15
POLL_TIMEOUT_S = 5.0
LIFE_INTERVAL_S = 2.0
LIFE_MISSES = 3
"""A ready service that leaves so many questions in a row unanswered hangs."""
BLIND_TIMEOUT_S = 20.0
"""For an answer of a service that cannot be seen waiting for a processor, which must so be silent for a minute."""
STARVED_SHARE = 0.2
"""Of the time of a question: a service that has waited so long for a processor may well have had an answer."""


async def until_ready(address: Address, path: str, advance: Callable[[Mapping[str, Any]], None]) -> None:
    """Ask until the answer is 200; what it says of its progress meanwhile goes to `advance`.

    One answer may take long: the socket is there before a process listens on it.
    """
    while True:
        with contextlib.suppress(OSError, ValueError):  # not there yet, or gone
            async with asyncio.timeout(POLL_TIMEOUT_S):
                answer = await net.get(address, path)
            if answer.status == 200:
                return
            if isinstance(answer.body, dict):
                advance(answer.body)
        await asyncio.sleep(POLL_INTERVAL_S)


async def until_silent(address: Address, path: str, process: ProcessId | None) -> None:
    """Ask now and then, and return once nobody answers any more. process: of the service, where it can be seen.

    A refusal counts as an answer, for that process is about to end; a question to a starved service does not count.
    """
    misses = 0
    while misses < LIFE_MISSES:
        await asyncio.sleep(LIFE_INTERVAL_S)
        before = waited_s(process)
        timeout_s = BLIND_TIMEOUT_S if before is None else POLL_TIMEOUT_S
        try:
            async with asyncio.timeout(timeout_s):
                await net.get(address, path)
        except TimeoutError:
            after = waited_s(process)
            starved = before is not None and after is not None and after - before > STARVED_SHARE * timeout_s
            misses += not starved
        except (OSError, ValueError):
            misses = 0
        else:
            misses = 0
