"""Values of a file that reach a build, as BentoML's advisories of 2026 have them: each is refused, or stays mere data.

| advisory | what was not checked |
|---|---|
| CVE-2026-24123 | paths of a build file that lead out of its folder |
| CVE-2026-27905 | links in an archive that is unpacked |
| CVE-2026-33744 | names of system packages, run by a shell |
| CVE-2026-35043 | the same, in the script that sets up a deployment |
| CVE-2026-35044 | a template, rendered with all of Python in reach |
| CVE-2026-40610 | links out of the folder that is built |
| CVE-2026-44345 | the name of the base image, with a line of its own |
| CVE-2026-44346 | names of variables, with a line of their own |

Links, and what is written of texts that may be anything, are in tests/e2e/test_build_payloads.py.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from compose.cli import cli

pytestmark = pytest.mark.unit

LINE = "x\nRUN touch owned"
SHELL = "x; touch owned #"
COMMAND = "$(touch owned)"
TICKS = "`touch owned`"
TEMPLATE = "{{ cycler.__init__.__globals__.os.popen('touch owned') }}"
OPTION = "--index-url=https://evil.example"
OUTSIDE = "../../../etc/passwd$"
PAYLOADS = (LINE, SHELL, COMMAND, TICKS, TEMPLATE, OPTION, OUTSIDE)

PLACES = {
    "id": "{id: %s, type: model, task: chat-completion, model: acme/tiny}",
    "task": "{type: model, task: %s, model: acme/tiny}",
    "model": "{type: model, task: chat-completion, model: {provider: huggingface, repository: %s}}",
    "revision": "{type: model, task: chat-completion, model: {repository: acme/tiny, revision: %s}}",
    "device": "{type: model, task: chat-completion, model: acme/tiny, device: %s}",
    "precision": "{type: model, task: chat-completion, model: acme/tiny, precision: %s}",
    "cpu": "{type: model, task: chat-completion, model: acme/tiny, resources: {cpu: %s}}",
    "memory": "{type: model, task: chat-completion, model: acme/tiny, resources: {memory: %s}}",
    "gpu": "{type: model, task: chat-completion, model: acme/tiny, resources: {gpu: %s}}",
    "gpu_type": "{type: model, task: chat-completion, model: acme/tiny, resources: {gpu: 1, gpu_type: %s}}",
    "a variable": "{type: model, task: translation, model: acme/tiny, runtime: {type: docker, environment: {%s: 1}}}",
}
OPTIONS = ("--tag", "--platform", "--base", "--output", "--wheels")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; nobody is asked for anything there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODEL_COMPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("builders.hub.Hub.listing", lambda *_: pytest.fail("asked the hub"))
    monkeypatch.setattr("builders.images.registry.pull", lambda *_: pytest.fail("asked a registry"))
    monkeypatch.setattr("builders.gathering.resolve_packages", lambda *_: pytest.fail("asked an index"))
    return tmp_path


def build(*arguments: str) -> tuple[int, str]:
    """Its exit status and its last lines, from the error on."""
    ended = CliRunner().invoke(cli, ["build", "--no-verify", *arguments])
    return ended.exit_code, ended.stderr[ended.stderr.index("error: ") :]


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("place", PLACES)
def test_a_value_of_the_file_that_is_none_is_refused(folder: Path, place: str, payload: str) -> None:
    (folder / "model-compose.yml").write_text(f"component: {PLACES[place] % json.dumps(payload)}\n", encoding="utf-8")
    code, said = build()
    assert code == 3
    assert said.startswith("error: model-compose.yml:1:")
    assert {path.name for path in folder.iterdir()} == {"model-compose.yml"}


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("option", OPTIONS)
def test_a_value_of_an_option_that_is_none_is_refused(folder: Path, option: str, payload: str) -> None:
    (folder / "model-compose.yml").write_text(
        "component: {type: model, task: chat-completion, model: acme/tiny}\n", encoding="utf-8"
    )
    code, said = build("router", option, payload)
    assert code in (2, 3)
    assert "\nhint: " in said
    assert {path.name for path in folder.iterdir()} <= {"model-compose.yml", "cache"}
