from pathlib import Path

import pytest

from compose.commands.config import resolved_yaml
from tests.compose.loading import load, router
from tests.compose.test_plan import ENVIRONMENT, TWO
from tests.compose.test_variations import CHAT, COMPONENTS, GENERATION

pytestmark = pytest.mark.unit


def test_the_resolved_file_is_in_todays_dialect_without_secrets(tmp_path: Path) -> None:
    text = """
        controller:
          port: ${env.PORT}
          auth: {token: "${env.API_TOKEN}"}
          webui:
        workflow:
          title: ${env.API_TOKEN} shown
          output: {said: "${output}"}
        component:
          type: model
          task: chat-completion
          model: {repository: acme/tiny, token: short}
          runtime: {environment: {MY_KEY: abc, THREADS: 2}}
          messages:
            role: user
            content: |
              ${env.GREETING | Hello}
              ${input.name}
          params: {temperature: 0.5, seed: 3}
        """
    loaded = load(tmp_path, text, PORT="9000", API_TOKEN="very-secret")
    assert resolved_yaml(loaded) == (
        "controller:\n"
        "  adapters:\n"
        "    - port: 9000\n"
        "  webui: {}\n"
        "  auth:\n"
        "    token: '***'\n"
        "components:\n"
        "  - type: model\n"
        "    task: chat-completion\n"
        "    model:\n"
        "      repository: acme/tiny\n"
        "      token: '***'\n"
        "    runtime:\n"
        "      environment:\n"
        "        MY_KEY: '***'\n"
        "        THREADS: '2'\n"
        "    actions:\n"
        "      - messages:\n"
        "          - role: user\n"
        "            content: |\n"
        "              ${env.GREETING | Hello}\n"
        "              ${input.name}\n"
        "        temperature: 0.5\n"
        "        seed: 3\n"
        "workflows:\n"
        "  - title: '*** shown'\n"
        "    output:\n"
        "      said: ${output}\n"
    )


@pytest.mark.parametrize("text", [*(text for text, _ in COMPONENTS.values()), *CHAT.values(), *GENERATION.values()])
def test_the_resolved_file_loads_as_the_same(tmp_path: Path, text: str) -> None:
    loaded = load(tmp_path, text)
    assert router(load(tmp_path, resolved_yaml(loaded))) == router(loaded)


def test_text_that_reads_as_a_number_stays_text(tmp_path: Path) -> None:
    loaded = load(tmp_path, "component: {type: model, task: text-generation, model: a/b, text: '1e3'}")
    assert "text: '1e3'" in resolved_yaml(loaded)


def test_no_secret_of_the_environment_is_printed(tmp_path: Path) -> None:
    text = resolved_yaml(load(tmp_path, TWO, **ENVIRONMENT))
    assert "very-secret" not in text
    assert "hf_very_secret" not in text
