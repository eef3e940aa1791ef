"""What reaches a terminal, a pipe, and a terminal without colours."""

import io
from pathlib import Path
from typing import Any

import pytest

from compose.output import Console, Narrator, clause, columns, describe, duration, in_words, shown_path
from infra.errors import ExitCode, UserError
from infra.secrets import Redactor
from infra.state import ServiceState

pytestmark = pytest.mark.unit


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def console(stream: type[io.StringIO] = io.StringIO, **options: Any) -> Console:
    return Console(**{"out": stream(), "err": stream(), "environ": {}, **options})


def text(stream: object) -> str:
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def chat(**parts: Any) -> ServiceState:
    return ServiceState(**{"name": "chat", "kind": "task", "state": "starting", "address": "unix:/s", **parts})


ERROR = UserError("port 80 is taken", hint="take another", exit_code=ExitCode.ENVIRONMENT)


def test_an_error_is_a_sentence_and_a_hint_on_standard_error() -> None:
    plain = console()
    plain.error(ERROR)
    assert (text(plain.out), text(plain.err)) == ("", "error: port 80 is taken\nhint: take another\n")


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colours_are_for_terminals_that_want_them(environ: dict[str, str], coloured: bool) -> None:
    terminal = console(Terminal, environ=environ)
    terminal.error(ERROR)
    assert ("\x1b[31merror:\x1b[0m" in text(terminal.err)) == coloured


def test_quiet_keeps_results_warnings_and_errors() -> None:
    quiet = console(quiet=True)
    quiet.say("starting")
    quiet.result("ready")
    quiet.warn("hm")
    assert (text(quiet.out), text(quiet.err)) == ("ready\n", "warning: hm\n")


def test_no_secret_reaches_the_terminal() -> None:
    careful = console(redact=Redactor({"HF_TOKEN": "hf_abcdef"}))
    careful.result("a hf_abcdef")
    careful.say("b hf_abcdef")
    careful.warn("c hf_abcdef")
    careful.error(UserError("d hf_abcdef", hint="e hf_abcdef", exit_code=ExitCode.FAILED))
    assert "hf_abcdef" not in text(careful.out) + text(careful.err)


def test_the_status_line_stays_below_what_is_printed() -> None:
    terminal = console(Terminal)
    terminal.status("loading")
    terminal.say("a line")
    terminal.status("")
    assert text(terminal.err) == "\r\x1b[Kloading\r\x1b[Ka line\n\r\x1b[Kloading\r\x1b[K"


def test_a_pipe_gets_no_status_line() -> None:
    plain = console()
    plain.status("loading")
    assert text(plain.err) == ""


def test_a_reader_that_leaves_is_noticed_and_breaks_nothing() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    left = console(out=Closed())
    left.result("unread")
    assert left.reader_gone


def test_a_start_is_told_in_steps_where_lines_cannot_be_rewritten() -> None:
    plain = console()
    narrator = Narrator(plain, ["chat"], show_logs=True)
    states = [
        chat(state="waiting"),
        chat(state="preparing"),
        chat(state="preparing", stage="downloading"),
        chat(state="preparing", stage="downloading", progress=0.02),
        chat(state="preparing", stage="downloading", progress=0.41, seconds_left=90),
        chat(state="preparing", stage="downloading", progress=0.44, seconds_left=80),
        chat(state="preparing", stage="downloading", progress=0.52, seconds_left=70),
        chat(),
        chat(state="ready"),
        chat(state="failed"),
        chat(state="stopping"),
    ]
    for state in states:
        narrator.changed(state)
    assert text(plain.err) == (
        "chat: downloading\nchat: downloading 40 %\nchat: downloading 50 %\nchat: starting\nchat: ready\n"
    )


def test_lines_of_services_bear_their_names() -> None:
    plain = console()
    narrator = Narrator(plain, ["chat", "router"], show_logs=True)
    narrator.line("chat", "loaded")
    narrator.line("router", "listening")
    assert text(plain.out) == "chat   | loaded\nrouter | listening\n"


def test_lines_of_services_have_colours_on_a_terminal() -> None:
    terminal = console(Terminal)
    Narrator(terminal, ["chat"], show_logs=True).line("chat", "loaded")
    assert text(terminal.out) == "\x1b[36mchat |\x1b[0m loaded\n"


def test_progress_is_said_with_what_is_left() -> None:
    state = chat(state="preparing", stage="downloading", progress=0.436, seconds_left=12.3)
    assert describe(state) == "downloading 43 %, 12 s left"
    assert describe(chat(state="ready", stage="loading")) == "ready"


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0 s"), (99, "99 s"), (170, "3 min"), (4_800, "1 h 20 min")])
def test_durations_are_short(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_columns_line_up() -> None:
    assert columns([("SERVICE", "PID"), ("chat", "1"), ("router", "22")]) == "SERVICE  PID\nchat     1\nrouter   22"


@pytest.mark.parametrize(
    ("names", "words"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_stand_in_a_sentence(names: list[str], words: str) -> None:
    assert in_words(names) == words


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("The prompt is too long.", "the prompt is too long"),
        ("A run failed.", "a run failed"),
        ("HF_TOKEN is wrong.", "HF_TOKEN is wrong"),
        ('"top_p" must be at most 1.', '"top_p" must be at most 1'),
        ("Did you mean it?", "did you mean it?"),
        ("JSON, please.", "JSON, please"),
    ],
)
def test_a_sentence_of_the_api_is_said_as_the_terminal_says_it(sentence: str, shown: str) -> None:
    assert clause(sentence) == shown


def test_a_path_below_this_folder_is_shown_as_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(str(tmp_path / "a/b.yml")) == "a/b.yml"
    assert shown_path("/elsewhere/b.yml") == "/elsewhere/b.yml"
