import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from compose.checks.planned import refused_keys
from compose.kinds import MODELS, accepted_keys
from compose.schema import main, shipped_schema
from tests.compose.test_variations import CHAT, COMPONENTS, EXAMPLES, GENERATION

pytestmark = pytest.mark.unit

VALID = [
    *(text for text, _ in COMPONENTS.values()),
    *CHAT.values(),
    *GENERATION.values(),
    *(path.read_text(encoding="utf-8") for path in EXAMPLES),
]
INVALID = {
    "a key nobody knows": {"component": {"type": "model", "task": "chat-completion", "model": "a/b", "devcie": "cpu"}},
    "no component": {"workflow": {}},
    "no task": {"component": {"type": "model", "model": "a/b"}},
    "a parameter out of range": {
        "component": {"type": "model", "task": "text-generation", "model": "a/b", "params": {"top_p": 2}}
    },
    "a port that is no number": {
        "controller": {"port": "eighty"},
        "component": {"type": "model", "task": "text-generation", "model": "a/b"},
    },
    "a role nobody plays": {
        "component": {"type": "model", "task": "chat-completion", "model": "a/b", "messages": [{"role": "usr"}]}
    },
}


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(shipped_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_shipped_schema_is_fresh() -> None:
    assert main(["--check"]) == 0


def test_a_stale_schema_is_noticed_and_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("compose.schema.SHIPPED", tmp_path / "schema.json")
    assert main(["--check"]) == 1
    assert capsys.readouterr().err == "compose/schema.json is stale: run `python -m compose.schema`\n"
    assert main([]) == 0
    assert main(["--check"]) == 0


@pytest.mark.parametrize("text", VALID)
def test_an_editor_accepts_what_loads(validator: Any, text: str) -> None:
    import textwrap

    lines = textwrap.dedent(text).splitlines()
    plain = [line for line in lines if "text: ${input.template" not in line]
    validator.validate(yaml.safe_load("\n".join(plain)))


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
def test_an_editor_marks_what_does_not_load(validator: Any, data: dict[str, Any]) -> None:
    assert not validator.is_valid(data)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_nothing_is_supported_and_refused_at_once(kind: str) -> None:
    assert not set(accepted_keys(kind)) & refused_keys(kind)
