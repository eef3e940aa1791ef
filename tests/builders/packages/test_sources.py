"""Where packages come from, by the strength of who says it: the command line, uv's variables, pip's configuration."""

from pathlib import Path

import pytest

from builders.packages.sources import Sources, pip_configuration
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.server

PIP = """\
[global]
index-url = https://user:secret@one.example/simple
extra-index-url =
    https://two.example/simple
    https://three.example/simple
find-links = /there
trusted-host = two.example
cert = /a/bundle.pem
[install]
index-url = https://user:secret@four.example/simple
"""


@pytest.fixture
def configured(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment whose pip has a configuration."""
    path = tmp_path / "pip.conf"
    path.write_text(PIP)
    return {**environ, "PIP_CONFIG_FILE": str(path)}


def changed(sources: Sources, environ: dict[str, str]) -> dict[str, str]:
    """What uv is told that the environment does not say already."""
    return {
        name: value for name, value in sources.environment(environ, Path("/")).items() if environ.get(name) != value
    }


def test_pips_configuration_reaches_uv(configured: dict[str, str]) -> None:
    assert changed(Sources(), configured) == {
        "UV_DEFAULT_INDEX": "https://user:secret@four.example/simple",
        "UV_INDEX": "https://two.example/simple https://three.example/simple",
        "UV_FIND_LINKS": "/there",
        "UV_INSECURE_HOST": "two.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "SSL_CERT_FILE": "/a/bundle.pem",
    }


def test_pips_variables_are_stronger_than_its_files(configured: dict[str, str], tmp_path: Path) -> None:
    configured["PIP_INDEX_URL"] = "https://five.example/simple"
    assert pip_configuration(configured, tmp_path)["index-url"] == "https://five.example/simple"


def test_uvs_own_variables_win_over_pip(configured: dict[str, str]) -> None:
    configured["UV_INDEX_URL"] = "https://six.example/simple"
    assert changed(Sources(), configured) == {}


def test_a_named_index_takes_the_place_of_the_first(configured: dict[str, str], tmp_path: Path) -> None:
    named = Sources(index_url="https://seven.example/simple").environment(
        {**configured, "UV_INDEX_URL": "https://six"}, tmp_path
    )
    assert (named["UV_DEFAULT_INDEX"], "UV_INDEX_URL" in named) == ("https://seven.example/simple", False)


def test_a_folder_of_wheels_alone_closes_the_rest(configured: dict[str, str], tmp_path: Path) -> None:
    configured["UV_INDEX"] = "https://six.example/simple"
    closed = Sources(wheels=tmp_path)
    assert closed.closed
    assert {
        name: value for name, value in closed.environment(configured, tmp_path).items() if name.startswith("UV_")
    } == {
        "UV_CACHE_DIR": configured["UV_CACHE_DIR"],
        "UV_FIND_LINKS": str(tmp_path),
    }
    assert not Sources(wheels=tmp_path, index_url="https://x.example").closed


def test_what_could_change_the_choice_is_left_behind(environ: dict[str, str], tmp_path: Path) -> None:
    strays = {"UV_OVERRIDE": "x", "UV_CONSTRAINT": "x", "UV_PRERELEASE": "allow", "UV_PYTHON": "x", "VIRTUAL_ENV": "/x"}
    kept = {"UV_OFFLINE": "1", "UV_INDEX_INTERNAL_PASSWORD": "x", "UV_HTTP_TIMEOUT": "5"}
    assert Sources().environment({**environ, **strays, **kept}, tmp_path) == {**environ, **kept}


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder ") as caught:
        Sources(wheels=tmp_path / "none")
    assert caught.value.exit_code == ExitCode.USAGE
