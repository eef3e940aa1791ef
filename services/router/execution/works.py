"""What each type of job does."""

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from services.catalog import Field
from services.errors import ServiceError
from services.router.execution.calls import Caller
from services.router.execution.conditions import equal, holds
from services.router.execution.delays import wait
from services.router.execution.fields import coerce, render_input, render_output
from services.router.execution.pieces import Pieces
from services.router.execution.tally import Tally
from services.router.expression import Tree, convert, parse_type
from services.router.graph import (
    Call,
    CallWork,
    DelayWork,
    FilterWork,
    ForEachWork,
    IfWork,
    LoopWork,
    ModelCall,
    RandomWork,
    Router,
    SwitchWork,
    Work,
)

REPEATS_AT_ONCE = 32
"""Repeats or items of one job, where nothing sets another number: enough to fill a batch."""
_LONGEST_STRETCH_S = 0.005
"""How long a filter goes through its items before everything else has a turn."""
_REPEAT_COUNT = Field("repeat_count", "integer", "parallel runs of one job", minimum=1, maximum=1000)
_BATCH_SIZE = Field("batch_size", "integer", "items worked on at once", minimum=1, maximum=1000)

_LIST = parse_type("list")
_KINDS = {str: "a text", dict: "an object", bool: "true or false", type(None): "nothing"}

Scope = Mapping[str, Any]


async def perform(work: Work, scope: Scope, caller: Caller, pieces: Pieces) -> Any:
    """The job's result before its `output` mapping; MISSING when it gives none. Raises ServiceError."""
    match work:
        case CallWork():
            return await _repeat(work, scope, caller, pieces)
        case ForEachWork():
            return await _for_each(work, scope, caller, pieces)
        case LoopWork():
            return await _loop(work, scope, caller, pieces)
        case FilterWork():
            return await _filter(work, scope)
        case DelayWork():
            return await wait(work, scope, pieces)
    raise AssertionError("routers choose")


async def choose(router: Router, job_id: str, scope: Scope) -> str | None:
    """The job that a router goes on with, if any. Raises ServiceError."""
    match router:
        case IfWork():
            own = _own_input(router.input, scope)
            for branch in router.branches:
                target = branch.if_true if await holds(branch.condition, scope, own) else branch.if_false
                if target is not None:
                    return target
            return router.otherwise
        case SwitchWork():
            own = _own_input(router.input, scope)
            for value, target in router.cases:
                if equal(own, render_input(value, scope, "cases")):
                    return target
            return router.otherwise
        case RandomWork():
            return _draw(router, job_id, scope)


async def _repeat(work: CallWork, scope: Scope, caller: Caller, pieces: Pieces) -> Any:
    count = 1
    if work.repeat_count is not None:
        count = coerce(_REPEAT_COUNT, render_input(work.repeat_count, scope, _REPEAT_COUNT.name))
    if count == 1:
        return await caller.call(work.call, {**scope, "index": 0}, pieces.tally)

    async def repeat(index: int, tally: Tally) -> Any:
        return await caller.call(work.call, {**scope, "index": index}, tally, index)

    return await pieces.make_all(count, _most_at_once(work.call), repeat)


async def _for_each(work: ForEachWork, scope: Scope, caller: Caller, pieces: Pieces) -> list[Any]:
    items = _items(work.input, scope)
    batch_size = coerce(_BATCH_SIZE, render_input(work.batch_size, scope, _BATCH_SIZE.name))

    async def do(index: int, tally: Tally) -> Any:
        inside = {**scope, "item": items[index], "index": index}
        given = inside if work.call.input is not None else {**inside, "input": items[index]}
        result = await caller.call(work.call, given, tally, index)
        return _mapped(work.item_output, inside, result)

    return await pieces.make_all(len(items), min(batch_size, _most_at_once(work.call, batch_size)), do)


async def _loop(work: LoopWork, scope: Scope, caller: Caller, pieces: Pieces) -> Any:
    value = _own_input(work.input, scope)
    for index in range(work.max_iteration_count):
        inside = {**scope, "input": value, "index": index}

        async def do(tally: Tally, inside: dict[str, Any] = inside, index: int = index) -> Any:
            return _mapped(work.item_output, inside, await caller.call(work.call, inside, tally, index))

        value = await pieces.make(index, do)
        if await holds(work.condition, {**scope, "index": index, "output": value}, value) is work.ends_when:
            return value
    raise ServiceError(
        500,
        "too_many_iterations",
        f"A loop did not come to its end within {work.max_iteration_count} iterations.",
        hint="Check its condition, or raise `max_iteration_count`.",
    )


async def _filter(work: FilterWork, scope: Scope) -> list[Any]:
    items = _items(work.input, scope)
    if work.where is None:
        return items
    kept = []
    rested_s = time.monotonic()
    for index, item in enumerate(items):
        if await holds(work.where, {**scope, "item": item, "index": index}, item):
            kept.append(item)
        if time.monotonic() - rested_s > _LONGEST_STRETCH_S:
            await asyncio.sleep(0)
            rested_s = time.monotonic()
    return kept


def _draw(work: RandomWork, job_id: str, scope: Scope) -> str:
    targets = [target for target, _ in work.routings]
    weights = [weight for _, weight in work.routings]
    session = None if work.session is None else render_input(work.session, scope, "session")
    if session is None:
        return random.choices(targets, weights)[0]  # noqa: S311  # a spread of load, no secret
    canonical = json.dumps([job_id, session], sort_keys=True)
    place = int.from_bytes(hashlib.sha256(canonical.encode()).digest()[:8], "big") / 2**64 * sum(weights)
    for target, weight in work.routings:
        place -= weight
        if place < 0:
            return target
    return next(target for target, weight in reversed(work.routings) if weight)


def _most_at_once(call: Call, otherwise: int = REPEATS_AT_ONCE) -> int:
    """otherwise: where the called component sets no number."""
    return (call.component.max_concurrent_count or otherwise) if isinstance(call, ModelCall) else REPEATS_AT_ONCE


def _own_input(tree: Tree | None, scope: Scope) -> Any:
    return scope["input"] if tree is None else render_input(tree, scope, "input")


def _items(tree: Tree | None, scope: Scope) -> list[Any]:
    items = _own_input(tree, scope)
    if isinstance(items, str):
        with suppress(ValueError):
            items = convert(items, _LIST)
    if not isinstance(items, list):
        shown = _KINDS.get(type(items), "a number")
        raise ServiceError(422, "invalid_input", f'"input" must be a list to go through, not {shown}.', field="input")
    return items


def _mapped(tree: Tree | None, scope: Scope, output: Any) -> Any:
    return output if tree is None else render_output(tree, {**scope, "output": output})
