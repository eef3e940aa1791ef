"""What is accepted is kept, one router at a time works on it, and clients take turns; over every database.

Each of them brings the tests' kind: see the fixture `database`.
"""

import asyncio
from dataclasses import replace
from typing import Any

from services.router.journal import JobKey
from services.router.messages import Run, RunRequest, RunStatus, cancelled, new_task_id
from services.router.store.database import Database, Statement
from services.router.store.records import Claim, client_digest
from services.router.store.run_store import LEASE_S, RunStore

REQUEST = RunRequest("w", {"prompt": "é\u0000☃", "n": [1, None, 1.5]}, wait_for_completion=False, session_id="s\u0000")


def new(client: str = "", **changes: Any) -> Claim:
    return Claim(new_task_id(), "w", "digest", "request", replace(REQUEST, client=client, **changes))


async def accept(store: RunStore, claim: Claim, key: str | None = None) -> bool:
    return await store.accept(claim, key, take=False)


def pass_time(database: Database, seconds: float) -> None:
    """As if everything had happened so much earlier."""
    moved = ", ".join(f"{name} = {name} - :by" for name in ("accepted_at", "claimed_at", "ended_at", "lease_until"))
    database.execute([Statement(f"update runs set {moved} returning id", {"by": seconds})])


def ended(claim: Claim, **changes: Any) -> Run:
    values: dict[str, Any] = {"status": RunStatus.COMPLETED, "output": {"a": "\u0000é"}, **changes}
    return Run(
        claim.task_id, "w", "request", kept=True, session_id=claim.request.session_id, usage={"seed": 1}, **values
    )


async def test_an_accepted_run_waits_until_it_is_claimed_and_then_has_all_it_was_asked(store: RunStore) -> None:
    given = new()
    assert await accept(store, given)
    shown = await store.get(given.task_id)
    assert shown == Run(given.task_id, "w", "request", kept=True, session_id="s\u0000")
    (claim,) = await store.claim(5)
    assert replace(claim, age_s=0.0) == given
    assert 0 <= claim.age_s < 5
    shown = await store.get(given.task_id)
    assert shown is not None
    assert shown.status is RunStatus.PROCESSING
    assert await store.claim(5) == []


async def test_a_run_that_is_taken_at_once_is_nobody_elses(store: RunStore) -> None:
    assert await store.accept(new(), None, take=True)
    assert await store.claim(5) == []


async def test_a_result_is_kept_as_it_was(store: RunStore) -> None:
    given = new(metadata={"k": [1]})
    await store.accept(given, None, take=True)
    run = ended(given, metadata={"k": [1]}, warnings=[{"code": "c", "message": "m"}])
    assert await store.finish(run)
    assert await store.get(given.task_id) == run
    assert await store.recent(10, "~") == [replace(run, output=None)]
    assert not await store.finish(run)


async def test_an_unknown_run_is_not_found(store: RunStore) -> None:
    assert await store.get("nothing") is None


async def test_what_waits_is_counted_by_client(store: RunStore) -> None:
    for client in ("a", "a", "b"):
        await accept(store, new(client))
    await store.accept(new("c"), None, take=True)
    assert await store.waiting() == {client_digest("a"): 2, client_digest("b"): 1}


async def test_a_key_leads_to_its_run_and_knows_its_request(store: RunStore) -> None:
    first, same, other = new(), new(client="elsewhere"), new(input={})
    assert await accept(store, first, "k")
    assert not await accept(store, same, "k")
    found = await store.earlier(same, "k")
    assert found is not None
    assert (found[0].task_id, found[1]) == (first.task_id, True)
    found = await store.earlier(other, "k")
    assert found is not None
    assert found[1] is False
    assert await store.earlier(new(), "another") is None


async def test_of_many_with_one_key_at_once_one_is_accepted(store: RunStore) -> None:
    assert sum(await asyncio.gather(*(accept(store, new(), "k") for _ in range(20)))) == 1


async def test_clients_take_turns_however_many_runs_one_has(store: RunStore) -> None:
    flood = [new("flood") for _ in range(6)]
    for claim in flood:
        await accept(store, claim)
    others = [new("a"), new("b")]
    for claim in others:
        await accept(store, claim)
    order = []
    for _ in range(4):
        (claim,) = await store.claim(1)
        order.append(claim.task_id)
    assert set(order[:3]) == {flood[0].task_id, others[0].task_id, others[1].task_id}
    assert order[3] == flood[1].task_id
    late = new("c")
    await accept(store, late)
    assert [claim.task_id for claim in await store.claim(1)] == [late.task_id]


async def test_addresses_take_turns_however_many_sessions_one_has(store: RunStore) -> None:
    crowd = [new(f"a/{number}") for number in range(6)]
    lone = [new("b") for _ in range(3)]
    again = new("a/0")
    for claim in [*crowd, *lone, again]:
        await accept(store, claim)
    order = [(await store.claim(1))[0].request.client for _ in range(10)]
    assert order == ["a/0", "b", "a/1", "b", "a/2", "b", "a/3", "a/4", "a/5", "a/0"]


async def test_a_lease_that_is_not_renewed_runs_out_and_the_next_one_goes_on(
    store: RunStore, database: Database
) -> None:
    held, lost = new(), new()
    for claim in (held, lost):
        await accept(store, claim)
    assert len(await store.claim(2)) == 2
    pass_time(database, LEASE_S - 1)
    assert await store.claim(2) == []
    assert await store.renew([held.task_id, "unknown"]) == {held.task_id}
    pass_time(database, 2)
    (claim,) = await store.claim(2)
    assert (claim.task_id, claim.attempts) == (lost.task_id, 2)
    assert claim.age_s > LEASE_S


async def test_a_run_given_back_waits_as_if_it_had_not_been_claimed(store: RunStore, database: Database) -> None:
    given = new()
    await accept(store, given)
    await store.claim(1)
    await store.hand_back([given.task_id])
    (claim,) = await store.claim(1)
    assert claim.attempts == 1
    await store.hand_back([given.task_id], delay_s=5)
    assert await store.claim(1) == []
    pass_time(database, 6)
    assert len(await store.claim(1)) == 1


async def test_finished_pieces_are_found_again_until_the_run_ends(store: RunStore) -> None:
    given = new()
    await accept(store, given)
    await store.claim(1)
    records = [(JobKey("j", part, 1), {"output": f"\u0000{part}"}) for part in (-1, 0, 1)]
    await store.note(given.task_id, records)
    await store.note(given.task_id, [(JobKey("j", 0, 1), {"output": "again"}), (JobKey("j", 0, 2), {})])
    await store.hand_back([given.task_id])
    (claim,) = await store.claim(1)
    assert claim.resumed
    assert await store.noted(given.task_id) == {**dict(records), JobKey("j", 0, 2): {}}
    await store.finish(ended(given))
    assert await store.noted(given.task_id) == {}


async def test_what_is_not_ours_cannot_be_noted_or_finished(store: RunStore) -> None:
    given = new()
    await accept(store, given)
    await store.note(given.task_id, [(JobKey("j", -1, 1), {})])
    assert await store.noted(given.task_id) == {}
    assert not await store.finish(ended(given))


async def test_a_run_that_waits_is_cancelled_at_once_and_one_at_work_is_asked_to_end(store: RunStore) -> None:
    at_work, waiting = new(), new()
    await accept(store, at_work)
    await store.claim(1)
    await accept(store, waiting)
    run = await store.cancel(waiting.task_id, cancelled())
    assert run is not None
    assert (run.status, run.error_status) == (RunStatus.CANCELLED, 409)
    assert run.error == {"code": "cancelled", "message": "The run was cancelled.", "request_id": "request"}
    assert await store.claim(1) == []
    assert await store.asked_to_end() == set()
    run = await store.cancel(at_work.task_id, cancelled())
    assert run is not None
    assert run.status is RunStatus.CANCELLING
    assert await store.asked_to_end() == {at_work.task_id}
    assert await store.cancel(waiting.task_id, cancelled()) is None


async def test_a_cancelled_run_whose_router_is_gone_is_claimed_to_be_ended(store: RunStore, database: Database) -> None:
    given = new()
    await accept(store, given)
    await store.claim(1)
    await store.cancel(given.task_id, cancelled())
    pass_time(database, LEASE_S + 1)
    (claim,) = await store.claim(1)
    assert claim.cancelled


async def test_what_waits_for_longer_than_a_run_may_take_fails_without_a_start(
    store: RunStore, database: Database
) -> None:
    given = new()
    await accept(store, given)
    pass_time(database, 10)
    late = new()
    await accept(store, late)
    await store.end_overdue(10, cancelled())
    assert [claim.task_id for claim in await store.claim(5)] == [late.task_id]
    run = await store.get(given.task_id)
    assert run is not None
    assert run.status is RunStatus.FAILED


async def test_runs_are_kept_for_the_retention_time_after_their_end(store: RunStore, database: Database) -> None:
    old, young, running = new(), new(), new()
    for claim in (old, young, running):
        await store.accept(claim, None, take=True)
    pass_time(database, 1000)
    await store.finish(ended(old))
    pass_time(database, 60)
    await store.finish(ended(young))
    assert not await store.expire(60)
    assert {run.task_id for run in await store.recent(9, "~")} == {running.task_id, young.task_id}


async def test_the_newest_are_listed_first_page_by_page(store: RunStore) -> None:
    claims = [new() for _ in range(5)]
    for claim in claims:
        await accept(store, claim)
    expected = sorted((claim.task_id for claim in claims), reverse=True)
    first = [run.task_id for run in await store.recent(3, "~")]
    assert first == expected[:3]
    assert [run.task_id for run in await store.recent(3, first[-1])] == expected[3:]


async def test_an_order_that_cannot_be_done_does_not_take_others_with_it(store: RunStore) -> None:
    bad = replace(new(), request=replace(REQUEST, input={"x": float("nan")}))
    good = [new() for _ in range(3)]
    found = await asyncio.gather(*(accept(store, claim) for claim in [*good, bad]), return_exceptions=True)
    assert found[:3] == [True] * 3
    assert isinstance(found[3], ValueError)
    assert len(await store.claim(9)) == 3


OTHER = Statement(
    "insert into served_workflows (owner, digest, seen_at) values ('other', 'digest', seconds()) returning owner", {}
)


async def test_a_run_is_left_to_a_living_router_that_has_its_workflow(store: RunStore, database: Database) -> None:
    given = new()
    await accept(store, given)
    database.execute([OTHER])
    assert await store.claim(5) == []
    gone = Statement("update served_workflows set seen_at = seen_at - :by returning owner", {"by": LEASE_S})
    database.execute([gone])
    assert [claim.task_id for claim in await store.claim(5)] == [given.task_id]


async def test_routers_that_have_the_same_workflow_share_its_runs(store: RunStore, database: Database) -> None:
    await accept(store, new())
    await store.serve(["digest", "digest"])
    database.execute([OTHER])
    assert len(await store.claim(5)) == bool(database.skip_locked)  # only such databases have several routers
