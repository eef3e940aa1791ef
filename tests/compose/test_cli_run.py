"""`run` against a server that is there, and without one: real services over a tiny model."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.rig import CHECKOUT
from tests.models import make_model
from tests.net import free_port

pytestmark = pytest.mark.server

FILE = """\
controller:
  adapter: {type: http-server, port: PORT}
workflows:
  - id: answer
    default: true
    component: chat
    output: {generated: "${output}"}
  - id: both
    component: chat
    output: {text: "${output}", question: "${input.user_prompt}"}
components:
  - id: chat
    type: model
    task: chat-completion
    model: ./model
    action: {params: {max_output_length: 12}}
  - id: absent
    type: model
    task: chat-completion
    model: ./no-such-model
"""
"""The second component is used by no workflow: `run` must do without it."""


def command(folder: Path, *arguments: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "compose", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_model("llama", folder / "model")
    (folder / "model-compose.yml").write_text(FILE.replace("PORT", str(free_port())))
    return folder


@pytest.fixture(scope="module")
def served(project: Path) -> Iterator[Path]:
    """The same file without the component that cannot start, served in the background."""
    folder = project.parent / "served"
    folder.mkdir()
    text = (project / "model-compose.yml").read_text().partition("  - id: absent")[0]
    (folder / "model-compose.yml").write_text(text.replace("./model", str(project / "model")))
    with contextlib.ExitStack() as stack:
        stack.callback(command, folder, "down")
        code, out, err = command(folder, "up", "--detach")
        assert code == 0, out + err
        yield folder


def test_without_a_server_run_starts_what_the_workflow_needs_and_leaves_nothing(project: Path, served: Path) -> None:
    alone = command(project, "run", "-i", "user_prompt=Hello")
    assert alone == command(served, "run", "-i", "user_prompt=Hello")
    assert alone[0] == 0
    assert alone[1].strip()
    assert sorted(path.name for path in project.iterdir()) == ["model", "model-compose.yml"]


def test_a_file_for_containers_is_run_by_processes_and_says_so(
    project: Path, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_COMPOSE_RUNTIME", "docker")
    code, out, err = command(project, "run", "-i", "user_prompt=Hello")
    assert (code, out) == command(served, "run", "-i", "user_prompt=Hello")[:2]
    assert err == "no server runs here; this run starts processes of its own, not containers\n"


def test_a_stream_prints_what_the_whole_answer_would_be(served: Path) -> None:
    question = ("run", "answer", "--input", json.dumps({"user-prompt": "Hello"}))
    assert command(served, *question) == command(served, *question, "--no-stream")


def test_an_output_of_several_values_is_printed_as_json(served: Path) -> None:
    code, out, _ = command(served, "run", "both", "-i", "user_prompt=Hello")
    assert code == 0
    assert json.loads(out)["question"] == "Hello"


def test_the_output_goes_to_a_file_when_one_is_named(served: Path, tmp_path: Path) -> None:
    shown = command(served, "run", "-i", "user_prompt=Hello")[1]
    assert command(served, "run", "-i", "user_prompt=Hello", "-o", str(tmp_path / "answer.txt"))[:2] == (0, "")
    assert (tmp_path / "answer.txt").read_text() == shown.removesuffix("\n")


@pytest.mark.parametrize(
    ("target", "reason"),
    [("no/where.txt", "no such file or directory"), (".", "is a directory"), ("full", "no space left on device")],
)
def test_an_output_file_that_cannot_be_written_is_told_before_the_run_and_no_work_is_lost(
    served: Path, tmp_path: Path, target: str, reason: str
) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    code, out, err = command(served, "run", "-i", "user_prompt=Hello", "-o", str(tmp_path / target))
    assert code == 4
    assert err.startswith(f"error: {tmp_path / target} cannot be written: {reason}\nhint: ")
    assert bool(out) == (target == "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_missing_input_is_one_sentence(served: Path) -> None:
    code, out, err = command(served, "run", "-i", "user_promt=Hello")
    assert (code, out) == (2, "")
    assert err == (
        'error: input "user_prompt" is required; did you mean "user_prompt" by "user_promt"?\n'
        "hint: give it with -i user_prompt=TEXT\n"
    )


def test_an_unknown_workflow_is_wrong_usage_with_and_without_a_server(project: Path, served: Path) -> None:
    code, out, err = command(project, "run", "nope")
    assert (code, out) == (2, "")
    assert err == "error: there is no workflow `nope`\nhint: name one of answer, both\n"
    assert command(served, "run", "nope")[0] == 2


def test_an_interrupted_run_ends_in_130_and_stops_what_it_started(project: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "compose", "run", "-v", "-i", "user_prompt=Hello"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stderr is not None
        while "loading" not in (line := run.stderr.readline()):
            assert line, "it ended too early"
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 130
