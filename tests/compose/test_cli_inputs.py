"""How `run -i` is read, and how an output is printed."""

import io
from pathlib import Path
from typing import Any

import pytest

from compose.commands.inputs import parse_inputs
from compose.commands.runs import output_text
from infra.errors import ExitCode, UserError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {}),
        (['{"a": 1, "b": [true, null]}'], {"a": 1, "b": [True, None]}),
        (["prompt=1 = one, ${input.x}"], {"prompt": "1 = one, ${input.x}"}),
        (["a="], {"a": ""}),
        (['{"a": 1, "b": 2}', "a=3"], {"a": "3", "b": 2}),
    ],
)
def test_json_and_named_texts_become_one_input(options: list[str], expected: dict[str, Any]) -> None:
    assert parse_inputs(options) == expected


def test_a_file_and_standard_input_are_read_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "input.json").write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa9"}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"b": 2}'))
    assert parse_inputs([f"@{tmp_path / 'input.json'}", "@-"]) == {"a": "é", "b": 2}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("hello", "the input `hello` is not understood"),
        ("=x", "the input `=x` is not understood"),
        ('{"a": }', "the input is not valid JSON at line 1, column 7"),
        ('{"a": NaN}', "the input is not valid JSON: NaN is no number in JSON"),
        ('{"a": ' + "[" * 100_000, "the input is not valid JSON: it is nested too deeply"),
        ("@none.json", "the input file none.json cannot be read: no such file or directory"),
    ],
)
def test_anything_else_is_wrong_usage(option: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_inputs([option])
    assert caught.value.message == message
    assert caught.value.exit_code == ExitCode.USAGE


def test_json_in_a_file_must_be_an_object(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[1]")
    with pytest.raises(UserError, match="is not a JSON object"):
        parse_inputs([f"@{path}"])


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("plain", "plain"),
        ({"generated": "one text"}, "one text"),
        ({"a": "1", "b": "2"}, '{\n  "a": "1",\n  "b": "2"\n}\n'),
        ({"n": 1}, '{\n  "n": 1\n}\n'),
        (["é"], '[\n  "é"\n]\n'),
        (None, "null\n"),
    ],
)
def test_one_text_is_printed_raw_and_anything_else_as_json(output: Any, text: str) -> None:
    assert output_text(output) == text
