"""Secrets reach no child and no line."""

import pytest

from infra.process import child_environment
from infra.secrets import Redactor, is_secret_name, without_secrets

pytestmark = pytest.mark.unit

ENVIRON = {
    "HF_TOKEN": "hf_abcdef",
    "MY_ApiKey": "key-123456",
    "DB_PASSWORD": "hunter22",
    "CLIENT_SECRET": "s3cr3t-value",
    "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer 123456",
    "PATH": "/usr/bin",
    "SHORT_KEY": "1",
}


def test_variables_with_a_secret_name_are_left_out() -> None:
    assert without_secrets(ENVIRON) == {"PATH": "/usr/bin"}


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "TOKENIZER_PATH", "Tokenisation", "NO_TOKENIZING"])
def test_what_cuts_text_into_pieces_is_no_secret(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["TOKEN", "API_TOKENS", "mytoken", "TOKENIZER_TOKEN", "TOKENIZER_API_KEY", "TOKENISSUER", "TOKEN_IZE", "TOKENI"],
)
def test_other_names_with_a_token_in_them_are_secret(name: str) -> None:
    assert is_secret_name(name)


def test_secret_values_are_replaced_wherever_they_stand() -> None:
    redact = Redactor(ENVIRON)
    assert redact("login hf_abcdef/hunter22 at /usr/bin, 1 try") == "login ***/*** at /usr/bin, 1 try"


def test_a_secret_that_holds_another_one_is_replaced_whole() -> None:
    assert Redactor({"A_KEY": "abcdef", "B_KEY": "abcdefghi"})("abcdefghi") == "***"


def test_nothing_is_replaced_where_there_is_no_secret() -> None:
    assert Redactor({"PATH": "/usr/bin"})("/usr/bin") == "/usr/bin"


def test_a_child_gets_what_its_unit_gives_and_python_finds_modules_where_it_should() -> None:
    environment = child_environment({"PYTHONPATH": "/evil", "PATH": "/bin", "HF_TOKEN": "x"}, {"EXTRA": "1"})
    assert environment == {
        "PATH": "/bin",
        "EXTRA": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
