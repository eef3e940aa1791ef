import json

import pytest

from services.withheld import UnfitEnvironment, read_settings, withhold

pytestmark = pytest.mark.unit

SETTINGS = {
    "name": "한국어",
    "auth_token": "very-secret",
    "database": {"driver": "postgres", "url": "postgresql://me:very-secret@host/db"},
    "env": {"TOPIC": "moon", "API_KEY": "very-secret"},
}
PLACES = {"auth_token": "TOKEN", "database.url": "DATABASE_URL", "env.API_KEY": "API_KEY"}
ENVIRONMENT = {"TOKEN": "very-secret", "DATABASE_URL": SETTINGS["database"]["url"], "API_KEY": "very-secret"}  # type: ignore[index] # a dict


def test_the_text_holds_no_secret_and_says_what_it_leaves_out() -> None:
    assert json.loads(withhold(SETTINGS, PLACES)) == {
        "name": "한국어",
        "database": {"driver": "postgres"},
        "env": {"TOPIC": "moon"},
        "withheld": {"auth_token": "TOKEN", "database.url": "DATABASE_URL", "env.API_KEY": "API_KEY"},
    }


def test_the_environment_gives_the_secrets_back() -> None:
    assert read_settings(withhold(SETTINGS, PLACES), ENVIRONMENT) == SETTINGS


def test_settings_without_secrets_are_what_they_were() -> None:
    assert read_settings(withhold(SETTINGS, {}), {}) == SETTINGS
    assert withhold(SETTINGS, {}) == json.dumps(SETTINGS, ensure_ascii=False)


@pytest.mark.parametrize(
    ("variable", "hosts"),
    [
        ("", ["page"]),
        ("10.1.2.3, router.shop.svc,", ["page", "10.1.2.3", "router.shop.svc"]),
        ("fd00::1", ["page", "fd00::1", "[fd00::1]"]),
    ],
)
def test_the_environment_gives_further_names_of_the_server(variable: str, hosts: list[str]) -> None:
    text = json.dumps({"allowed_hosts": ["page"]})
    assert read_settings(text, {"MODEL_COMPOSE_ALLOWED_HOSTS": variable}) == {"allowed_hosts": hosts}


def test_a_router_may_be_given_more_time_to_end() -> None:
    given = {"MODEL_COMPOSE_SHUTDOWN_TIMEOUT": "120"}
    assert read_settings('{"shutdown_timeout_s": 30}', given) == {"shutdown_timeout_s": 120.0}
    assert read_settings('{"shutdown_timeout_s": 30}', {}) == {"shutdown_timeout_s": 30}
    assert read_settings("{}", given) == {}  # a page's, which waits for nothing


@pytest.mark.parametrize("text", ["soon", "", "30s", "nan", "inf", "-1"])
def test_a_time_that_is_no_number_is_named(text: str) -> None:
    with pytest.raises(UnfitEnvironment) as caught:
        read_settings('{"shutdown_timeout_s": 30}', {"MODEL_COMPOSE_SHUTDOWN_TIMEOUT": text})
    assert str(caught.value) == (
        f'MODEL_COMPOSE_SHUTDOWN_TIMEOUT is "{text}", which is no number of seconds: '
        "set it where the container is started"
    )


def test_what_the_environment_lacks_is_named() -> None:
    with pytest.raises(UnfitEnvironment) as caught:
        read_settings(withhold(SETTINGS, PLACES), {"API_KEY": "very-secret", "TOKEN": ""})
    assert str(caught.value) == "the environment lacks DATABASE_URL, TOKEN: set them where the container is started"


def test_only_a_router_is_told_that_it_is_in_a_cluster() -> None:
    given = {"MODEL_COMPOSE_IN_CLUSTER": "1"}
    assert read_settings('{"in_cluster": false}', given) == {"in_cluster": True}
    assert read_settings('{"in_cluster": false}', {}) == {"in_cluster": False}
    assert read_settings("{}", given) == {}
