"""Problems as they are printed."""

import pytest

from compose.reading.problems import Mark, Problem, SourceError, render_problems

pytestmark = pytest.mark.unit


def test_problems_are_sorted_by_file_and_line_and_show_the_line_and_the_hint() -> None:
    sources = {"a.yml": "component:\n  modle: x\n  task: y\n", "b.yml": "x: 1\r\ny: 2\r\n"}
    problems = [
        Problem(Mark("b.yml", 2, 4), "no"),
        Problem(Mark("a.yml", 3, 9), "there is no task `y`", "tasks: chat-completion", "wrong meaning"),
        Problem(Mark("a.yml", 2, 3), "unknown key `modle`", "did you mean `model`?", "wrong shape"),
        Problem(Mark("b.yml", 2, 4), "no"),
    ]
    assert (
        render_problems(problems, sources)
        == """\
a.yml:2:3: wrong shape: unknown key `modle`
    modle: x
    ^
  did you mean `model`?
a.yml:3:9: wrong meaning: there is no task `y`
    task: y
          ^
  tasks: chat-completion
b.yml:2:4: no
  y: 2
     ^"""
    )


def test_a_caret_stands_under_its_character_behind_wide_ones_and_tabs() -> None:
    text = "\ufeff제목: \x1b[31m\t@x"
    assert render_problems([Problem(Mark("f", 1, 11), "here")], {"f": text}) == (
        "f:1:11: here\n  제목:  [31m @x\n              ^"
    )


def test_a_long_line_is_cut_around_the_place() -> None:
    text = "a" * 500 + "!" + "b" * 500
    shown = render_problems([Problem(Mark("f", 1, 501), "here")], {"f": text}).splitlines()
    assert shown == ["f:1:501: here", "  " + "a" * 50 + "!" + "b" * 49, "  " + " " * 50 + "^"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  token: hf_abc", "  token: ******"),
        ("auth: {token: 'abc d', insecure: no}", "auth: {token: *******, insecure: no}"),
        ('"api_key": sk-1 # mine', '"api_key": *****# mine'),
        ("token: ${env.HF_TOKEN}", "token: ${env.HF_TOKEN}"),
        ("pad_token_id: 5", "pad_token_id: 5"),
    ],
)
def test_a_secret_in_a_line_is_not_shown(line: str, shown: str) -> None:
    assert render_problems([Problem(Mark("f", 1, 1), "here")], {"f": line}).splitlines()[1] == f"  {shown}"


def test_a_long_hint_takes_several_lines() -> None:
    hint = "allowed: " + ", ".join(["abc-defg"] * 15)
    lines = render_problems([Problem(Mark("f", 1, 1), "here", hint)], {}).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("  ") and len(line) <= 100 for line in lines[1:])


@pytest.mark.parametrize("sources", [{}, {"f": ""}, {"f": "a\n\n"}])
def test_a_line_that_is_not_there_is_not_shown(sources: dict[str, str]) -> None:
    assert render_problems([Problem(Mark("f", 2, 1), "here", "hint")], sources) == "f:2:1: here\n  hint"


def test_an_error_reads_as_its_problems() -> None:
    assert (
        str(SourceError(Problem(Mark("f", 1, 2), "one"), Problem(Mark("f", 3, 4), "two"))) == "f:1:2: one\nf:3:4: two"
    )
