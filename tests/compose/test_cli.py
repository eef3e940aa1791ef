"""What the command line prints and which exit code it ends in, without starting anything."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from compose.cli import cli
from infra.errors import ExitCode

pytestmark = pytest.mark.unit

CHECKOUT = Path(__file__).parents[2]

SMALL = "component: {type: model, task: chat-completion, model: ./model}\n"
BROKEN = """\
controler: {}
component:
  type: model
  task: chat-completion
  modle: x
"""
BROKEN_SHOWN = """\
error: the file has 2 problems
model-compose.yml:1:1: wrong shape: unknown key `controler` at the top of the file
  controler: {}
  ^
  did you mean `controller`?
model-compose.yml:5:3: wrong shape: unknown key `modle` in a component
    modle: x
    ^
  did you mean `model`?
"""
HELP = """\
Usage: model-compose [OPTIONS] COMMAND [ARGS]...

  One YAML file in, running model services out.

Options:
  -f, --file FILE      Read this file; of several, later ones win.
  -e, --env KEY=VALUE  Give ${env.KEY} this value.
  --env-file FILE      Read variables from here instead of .env.
  -q, --quiet          Print only results, warnings and errors.
  -v, --verbose        Print more of what happens.
  --version            Show the version.
  -h, --help           Show this message and exit.

Commands:
  init      Write a starter file here, or in the new folder NAME.
  up        Start what the file describes, and show where it is.
  down      Stop it, and return once it is stopped.
  stop      Stop all services or one SERVICE, and stay up.
  start     Start again what `stop` has stopped, or what has failed.
  restart   Stop and start all services or one SERVICE.
  ps        List the services: state, memory, address, last error.
  logs      Show what the services have printed, or one SERVICE.
  run       Run a WORKFLOW once, and print its output.
  build     Make an image of each COMPONENT, router and page, or of all.
  push      Bring the images that `build` has made to REGISTRY.
  prune     Remove images, layers and weights that no project needs any more.
  export    Write files for other tools, such as `docker compose`.
  validate  Check the file, and show everything that is wrong with it.
  plan      Say what `up` would do: its downloads, disk and memory.
  config    Print the file as it is understood, without its secrets.
  explain   Show a WORKFLOW in order: what jobs read, what can be null.
  schema    Print the JSON schema of the file, for editors.

  `init` writes a first file, `up` starts what it describes.
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and what it printed where."""

    code: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        result = CliRunner().invoke(cli, arguments)
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run


def test_help_lists_the_commands(call: Call) -> None:
    assert call("--help") == Ended(0, HELP, "")


def test_without_a_command_the_help_is_shown_as_wrong_usage(call: Call) -> None:
    assert call() == Ended(2, "", HELP)


def test_version_is_that_of_the_package(call: Call) -> None:
    assert call("--version") == Ended(0, "model-compose 0.1.0\n", "")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["upp"], "no such command `upp`", "did you mean `up`? `model-compose --help` shows what is possible"),
        (["up", "--frob"], "no such option `--frob`", "`model-compose up --help` shows what is possible"),
        (
            ["-e", "hf_secret", "ps"],
            "invalid value for `-e` / `--env`: it takes KEY=VALUE",
            "`model-compose --help` shows what is possible",
        ),
        (
            ["up", "--wait-timeout", "nan"],
            "invalid value for `--wait-timeout`: it takes a number of seconds above 0",
            "`model-compose up --help` shows what is possible",
        ),
    ],
)
def test_wrong_usage_is_one_sentence_and_where_to_look(
    call: Call, arguments: list[str], message: str, hint: str
) -> None:
    assert call(*arguments) == Ended(2, "", f"error: {message}\nhint: {hint}\n")


def test_a_valid_file_is_called_valid(call: Call, tmp_path: Path) -> None:
    (tmp_path / "model-compose.yml").write_text(SMALL)
    assert call("validate") == Ended(0, "the file is valid: 1 component, 1 workflow\n", "")


def test_everything_wrong_is_shown_with_its_place(call: Call, tmp_path: Path) -> None:
    (tmp_path / "model-compose.yml").write_text(BROKEN)
    assert call("validate") == Ended(3, "", BROKEN_SHOWN)


def test_without_a_file_the_hint_is_init(call: Call, tmp_path: Path) -> None:
    shown = (
        f"error: there is no model-compose.yml or model-compose.yaml in {tmp_path}\n"
        "hint: `model-compose init` writes one, `-f FILE` names another\n"
    )
    assert call("validate") == Ended(3, "", shown)
    assert call("up") == Ended(3, "", shown)
    assert list(tmp_path.iterdir()) == []


def test_files_and_values_stand_before_or_after_the_command(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(SMALL)
    (tmp_path / "b.yml").write_text("controller: {adapter: {type: http-server, port: '${env.P}'}}\n")
    after = call("config", "-f", "a.yml", "-f", "b.yml", "-e", "P=9000")
    assert "port: 9000" in after.out
    assert call("-f", "a.yml", "-e", "P=1", "config", "-f", "b.yml", "-e", "P=9000") == after
    assert call("-f", "a.yml", "-f", "b.yml", "-e", "P=9000", "config") == after


def test_config_shows_no_secret(call: Call, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN=hf_sentinel\n")
    (tmp_path / "model-compose.yml").write_text(
        "component: {type: model, task: chat-completion, chat_template: '${env.HF_TOKEN}',"
        " model: {provider: huggingface, repository: a/b, token: '${env.HF_TOKEN}'}}\n"
    )
    ended = call("config")
    assert ended.code == 0
    assert "hf_sentinel" not in ended.out + ended.err
    assert "token: '***'" in ended.out


def test_schema_prints_json(call: Call) -> None:
    assert json.loads(call("schema").out)["title"] == "model-compose.yml"


def test_init_writes_a_valid_file_whose_schema_is_beside_it(call: Call, tmp_path: Path) -> None:
    assert call("init") == Ended(0, "wrote model-compose.yml; next: model-compose up\n", "")
    modeline = (tmp_path / "model-compose.yml").read_text().splitlines()[0]
    assert modeline == "# yaml-language-server: $schema=.model-compose/schema.json"
    assert (tmp_path / ".model-compose/schema.json").read_text() == call("schema").out
    assert call("validate") == Ended(0, "the file is valid: 1 component, 1 workflow\n", "")


def test_init_never_overwrites(call: Call, tmp_path: Path) -> None:
    (tmp_path / "model-compose.yaml").write_text("mine")
    assert call("init") == Ended(
        4,
        "",
        f"error: there is a model-compose.yaml in {tmp_path} already\n"
        "hint: `model-compose init NAME` writes into a new folder\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["model-compose.yaml"]


def test_init_with_a_name_makes_the_folder(call: Call, tmp_path: Path) -> None:
    shown = "wrote my chat/model-compose.yml; next: cd 'my chat' && model-compose up\n"
    assert call("init", "my chat") == Ended(0, shown, "")
    assert (tmp_path / "my chat/model-compose.yml").exists()


def test_where_nothing_runs_down_is_content_and_the_others_say_so(call: Call, tmp_path: Path) -> None:
    nothing = f"error: nothing is running in {tmp_path}\nhint: `model-compose up` starts what the file describes\n"
    assert call("down") == Ended(0, f"nothing is running in {tmp_path}\n", "")
    assert call("ps") == Ended(5, "", nothing)
    assert call("ps", "--json") == Ended(5, '{\n  "running": false,\n  "services": []\n}\n', nothing)
    assert call("logs") == Ended(5, "", nothing)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_project_is_that_of_its_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert call("-f", "there/model-compose.yml", "down").out == f"nothing is running in {tmp_path / 'there'}\n"


def test_an_unforeseen_error_shows_no_trace_but_says_where_one_is(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("the reason")

    monkeypatch.setattr("compose.commands.stop.down", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = call("down")
    (log,) = tmp_path.iterdir()
    assert ended == Ended(
        1,
        "",
        "error: model-compose failed in a way that was not foreseen (KeyError)\n"
        f"hint: please report it; {log} says where it happened\n",
    )
    assert "KeyError: 'the reason'" in log.read_text()


def test_an_interrupt_ends_in_130(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("compose.commands.stop.down", interrupt)
    assert call("down").code == ExitCode.INTERRUPTED


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, compose.cli; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "bentoml", "gradio", "pydantic", "httpx", "yaml", "asyncio", "psutil"}
    assert heavy & set(modules.stdout.split()) == set()


def test_reading_a_file_imports_no_framework(tmp_path: Path) -> None:
    (tmp_path / "model-compose.yml").write_text(SMALL)
    code = (
        "import sys, compose.commands.execute, compose.commands.runs; from compose.loader import load_spec; load_spec()"
    )
    modules = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sys.modules)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"torch", "transformers", "bentoml", "gradio", "huggingface_hub"} & set(modules.stdout.split()) == set()


@pytest.mark.parametrize("lines", ["x", "-1", "1.5"])
def test_a_number_of_lines_that_is_none_is_wrong_usage(call: Call, lines: str) -> None:
    assert call("logs", "--tail", lines) == Ended(
        2,
        "",
        "error: invalid value for `--tail`: it takes a whole number from 0\n"
        "hint: `model-compose logs --help` shows what is possible\n",
    )
