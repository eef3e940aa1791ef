"""What happens to the containers of a project, told from what is wanted and what is there."""

import pytest

from infra.docker.engine import Found
from infra.docker.plan import Step, reconcile

pytestmark = pytest.mark.unit


def found(service: str, digest: str = "new", *, running: bool = True, id_: str = "") -> Found:
    return Found(id_ or f"id-of-{service}", service, "task", digest, running)


WANTED = {"chat": "new", "router": "new"}


def test_where_nothing_runs_everything_is_started_in_its_order() -> None:
    assert reconcile(WANTED, []) == (
        Step("start", "chat", "does not run yet"),
        Step("start", "router", "does not run yet"),
    )


def test_what_runs_as_wanted_is_kept() -> None:
    assert reconcile(WANTED, [found("router"), found("chat")]) == (
        Step("keep", "chat", "runs as the file says", kept="id-of-chat"),
        Step("keep", "router", "runs as the file says", kept="id-of-router"),
    )


def test_what_changed_or_has_ended_is_replaced() -> None:
    assert reconcile(WANTED, [found("chat", "old"), found("router", running=False)]) == (
        Step("replace", "chat", "its image or its settings changed", ("id-of-chat",)),
        Step("replace", "router", "it had ended", ("id-of-router",)),
    )


def test_what_is_no_longer_wanted_goes_first() -> None:
    assert reconcile({"chat": "new"}, [found("chat"), found("zoo"), found("page", running=False)]) == (
        Step("remove", "page", "no longer in the file", ("id-of-page",)),
        Step("remove", "zoo", "no longer in the file", ("id-of-zoo",)),
        Step("keep", "chat", "runs as the file says", kept="id-of-chat"),
    )


def test_of_several_containers_of_a_service_one_stays() -> None:
    twins = [found("chat", id_="a", running=False), found("chat", id_="b"), found("chat", "old", id_="c")]
    assert reconcile({"chat": "new"}, twins) == (Step("keep", "chat", "runs as the file says", ("a", "c"), "b"),)
