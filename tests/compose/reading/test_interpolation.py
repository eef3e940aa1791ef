"""`${env.NAME}`: what it stands for, what is missing, and environment files."""

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.reading.interpolation import EnvText, read_env_file, to_data
from compose.reading.problems import SourceError, render_problems
from compose.reading.source import read_yaml

pytestmark = pytest.mark.unit

ENVIRONMENT = {"PORT": "9090", "MODEL": "a/b", "EMPTY": "", "EVIL": "${input.x} ${env.PORT}: #\n- x", "WORD": "on"}


def resolved(written: str) -> Any:
    value = to_data(read_yaml(f"a: {written}\n", "f"), ENVIRONMENT).data["a"]
    assert isinstance(value, EnvText)
    return value.resolved


def complaints(text: str) -> str:
    return render_problems(to_data(read_yaml(text, "f"), ENVIRONMENT).problems, {})


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${env.PORT}", "9090"),
        ("${env.PORT as integer}", 9090),
        ('"${env.PORT as number}"', 9090),
        ("${env.NONE as integer | 8080}", 8080),
        ("${env.NONE | 8080}", "8080"),
        ("${env.NONE as boolean | true}", True),
        ("${env.NONE | a: b, {c}}", "a: b, {c}"),
        ('${env.NONE | "x # y"}', "x # y"),
        ("${env.NONE | }", ""),
        ("${env.EMPTY | x}", ""),
        ("${env.NONE | ${env.PORT}}", "9090"),
        ("${env.MODEL | ${env.NONE}}", "a/b"),
        ("http://${env.MODEL}:${env.PORT}/", "http://a/b:9090/"),
        ("x-${env.PORT as integer}", "x-9090"),
        ("${env.EVIL}", "${input.x} ${env.PORT}: #\n- x"),
        ("${env.WORD}", "on"),
        ("$${env.PORT}", "${env.PORT}"),
        ("$${a} ${env.PORT}", "${a} 9090"),
        ("|\n  one\n  ${env.PORT}", "one\n9090\n"),
    ],
)
def test_a_setting_takes_the_value(written: str, value: Any) -> None:
    found = resolved(written)
    assert (found, type(found)) == (value, type(value))


def test_a_template_keeps_its_words() -> None:
    text = 'a: ["${env.PORT} x", "${env.PORT} ${input.x}", "${input.y | ${env.MODEL}}", 1]\nb: {c: ${env.PORT}}'
    found = to_data(read_yaml(text, "f"), ENVIRONMENT)
    assert found.data == {
        "a": ["${env.PORT} x", "${env.PORT} ${input.x}", "${input.y | ${env.MODEL}}", 1],
        "b": {"c": "${env.PORT}"},
    }
    assert [type(item) for item in found.data["a"]] == [EnvText, str, str, int]
    assert found.used == {"PORT": "9090", "MODEL": "a/b"}
    assert found.problems == ()


def test_every_missing_name_is_reported_at_its_place() -> None:
    text = """\
port: ${env.PROT}
model: "x ${env.A} ${env.PORT} ${env.B | ${env.QQ}}"
text: |
  hello
  ${input.x | ${env.ZZ}}
flow: [${env.PROT}, ${env.PORT | ${env.NOT_NEEDED}}]
"""
    assert (
        complaints(text)
        == """\
f:1:7: wrong meaning: the variable `PROT` is not set
  did you mean `PORT`?
f:2:11: wrong meaning: the variable `A` is not set
  set it in .env or with -e A=VALUE, or give a default
f:2:42: wrong meaning: the variable `QQ` is not set
  set it in .env or with -e QQ=VALUE, or give a default
f:5:15: wrong meaning: the variable `ZZ` is not set
  set it in .env or with -e ZZ=VALUE, or give a default
f:6:8: wrong meaning: the variable `PROT` is not set
  did you mean `PORT`?"""
    )


def test_a_value_of_another_type_and_a_broken_variable_are_reported() -> None:
    assert complaints("a: ${env.MODEL as integer}\nb: |\n  x\n  y ${env.PORT\nc: costs ${5}\n") == (
        "f:1:4: wrong meaning: ${env.MODEL as integer}: 'a/b' is not a whole number\n"
        "f:4:5: wrong meaning: this `${` is never closed"
    )


def test_an_alias_is_reported_once() -> None:
    assert complaints("a: &a ${env.NONE}\nb: *a\n").count("is not set") == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda text: pickle.loads(pickle.dumps(text))])
def test_a_copy_keeps_its_value(copied: Any) -> None:
    twin = copied(EnvText("${env.PORT as integer}", 9090))
    assert (twin, type(twin), twin.resolved) == ("${env.PORT as integer}", EnvText, 9090)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_is_never_parsed_again(value: str) -> None:
    data = to_data(read_yaml('a: ${env.X}\nb: "<${env.X}>"', "f"), {"X": value}).data
    assert (data["a"].resolved, data["b"].resolved) == (value, f"<{value}>")


def test_an_environment_file_is_read_literally() -> None:
    text = """\
\ufeff# comment
export TOKEN=abc # comment
PLAIN = x y
HASH=a#b
SINGLE='$TOKEN ${PLAIN}\\n'
DOUBLE="one\\ntwo $TOKEN"
EMPTY=
NOTHING
TWICE=1
TWICE=2
"""
    expected = {
        "TOKEN": "abc",
        "PLAIN": "x y",
        "HASH": "a#b",
        "SINGLE": "$TOKEN ${PLAIN}\\n",
        "DOUBLE": "one\ntwo $TOKEN",
        "EMPTY": "",
        "TWICE": "2",
    }
    assert read_env_file(text, ".env") == expected
    assert read_env_file(text.replace("\n", "\r\n"), ".env") == expected


def test_every_line_of_an_environment_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(SourceError) as caught:
        read_env_file('A=1\n\n  = 2\nB=3\nC="x\nD=\0\nE=5\n', ".env")
    assert render_problems(caught.value.problems, {}) == (
        ".env:3:1: cannot read: this line is not `NAME=VALUE`\n"
        ".env:5:1: cannot read: this line is not `NAME=VALUE`\n  is a quote left open?\n"
        ".env:6:1: cannot read: this line is not `NAME=VALUE`"
    )
