"""Asks a service how it is: until it is ready, and then whether it still answers."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from infra import net
from infra.unit import Address

POLL_INTERVAL_S = 0.15
POLL_TIMEOUT_S = 5.0
LIFE_INTERVAL_S = 2.0
LIFE_MISSES = 3
"""A ready service that leaves so many questions in a row unanswered hangs."""


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


async def until_silent(address: Address, path: str) -> None:
    """Ask now and then, and return once nobody answers any more. A refusal is none: that process is about to end."""
    misses = 0
    while misses < LIFE_MISSES:
        await asyncio.sleep(LIFE_INTERVAL_S)
        try:
            async with asyncio.timeout(POLL_TIMEOUT_S):
                await net.get(address, path)
        except TimeoutError:
            misses += 1
        except (OSError, ValueError):
            pass
        else:
            misses = 0
