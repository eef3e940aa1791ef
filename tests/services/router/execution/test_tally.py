"""Usage is summed, what is said twice is said once, and all of it goes through a journal."""

import json

import pytest

from services.router.execution.tally import Tally
from services.wire import Done

pytestmark = pytest.mark.unit

WARNING = {"code": "capped", "message": "Capped."}
ONE = Done("x", {"total_tokens": 2, "seed": 7}, [WARNING, WARNING], ["length"])


def tally(*calls: Done) -> Tally:
    made = Tally()
    for call in calls:
        made.count(call)
    return made


def test_one_call_keeps_its_seed_and_several_have_none() -> None:
    assert tally(ONE) == Tally(1, {"total_tokens": 2, "seed": 7}, [WARNING], ["length"])
    assert tally(ONE, ONE) == Tally(2, {"total_tokens": 4}, [WARNING], ["length", "length"])


def test_tallies_add_up_in_any_grouping() -> None:
    parts = Tally()
    parts += tally()
    parts += tally(ONE)
    parts += tally(ONE, Done("y", {"prompt_tokens": 1}))
    assert parts == tally(ONE, ONE, Done("y", {"prompt_tokens": 1}))
    assert ONE.usage == {"total_tokens": 2, "seed": 7}


@pytest.mark.parametrize("calls", [(), (ONE,), (ONE, ONE)])
def test_a_journal_keeps_all_of_it(calls: tuple[Done, ...]) -> None:
    assert Tally.from_json(json.loads(json.dumps(tally(*calls).to_json()))) == tally(*calls)
