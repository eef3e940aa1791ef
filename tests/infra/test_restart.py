"""When a crashed service is started again."""

import pytest

from infra.restart import RestartPolicy

pytestmark = pytest.mark.unit


def test_the_wait_doubles_and_the_fifth_crash_in_a_minute_is_the_last() -> None:
    policy = RestartPolicy()
    assert [policy.after_crash(now, was_ready=True) for now in (0, 1, 2, 3, 4)] == [0.25, 0.5, 1, 2, None]


def test_crashes_far_apart_are_forgotten() -> None:
    policy = RestartPolicy()
    assert [policy.after_crash(now * 70, was_ready=True) for now in range(8)] == [0.25] * 8


def test_five_slow_starts_that_never_worked_are_hopeless_too() -> None:
    policy = RestartPolicy()
    assert [policy.after_crash(now * 70, was_ready=False) for now in range(5)] == [0.25, 0.5, 1, 2, None]


def test_having_worked_once_counts_anew() -> None:
    policy = RestartPolicy()
    for now in range(3):
        policy.after_crash(now * 70, was_ready=False)
    assert policy.after_crash(280, was_ready=True) == 0.25


def test_what_keeps_a_service_from_being_started_has_two_minutes_to_pass() -> None:
    policy = RestartPolicy()
    assert [policy.after_refusal(now) for now in (0, 1, 2, 3, 4, 5, 120)] == [0.25, 0.5, 1, 2, 4, 4, 4]
    assert policy.after_refusal(121) is None
    assert policy.after_crash(122, was_ready=True) == 0.25
    assert policy.after_refusal(123) == 0.25
