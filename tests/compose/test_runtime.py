from pathlib import Path

import pytest

from compose.runtime import chosen_runtime
from infra.errors import ExitCode, UserError
from tests.compose.loading import load

pytestmark = pytest.mark.unit

MODEL = "type: model, task: chat-completion, model: acme/tiny"


@pytest.mark.parametrize(
    ("asked", "component", "controller", "variable", "chosen"),
    [
        (None, "", "", None, "process"),
        (None, "", "", "", "process"),
        (None, "", "", "docker", "docker"),
        (None, "", "process", "docker", "process"),
        (None, "", "{start_timeout: 5m}", "docker", "docker"),
        (None, "docker", "process", None, "docker"),
        (None, "{type: docker, start_timeout: 1m}", "", None, "docker"),
        ("process", "docker", "docker", "docker", "process"),
    ],
)
def test_the_strongest_word_decides(
    tmp_path: Path, asked: str | None, component: str, controller: str, variable: str | None, chosen: str
) -> None:
    runtime = f", runtime: {component}" if component else ""
    text = f"controller: {{runtime: {controller or '{}'}}}\ncomponent: {{{MODEL}{runtime}}}"
    environ = {} if variable is None else {"MODEL_COMPOSE_RUNTIME": variable}
    assert chosen_runtime(load(tmp_path, text, **environ), asked) == chosen


def test_all_components_run_in_one_place(tmp_path: Path) -> None:
    text = f"workflow: {{component: a}}\ncomponents:\n  - {{id: a, {MODEL}}}\n  - {{id: b, {MODEL}, runtime: docker}}\n"
    loaded = load(tmp_path, text)
    with pytest.raises(UserError) as caught:
        chosen_runtime(loaded, None)
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (
        "model-compose.yml:4:76: `b` runs in a container and `a` as a process, which is not supported yet",
        "name one runtime for all, on the controller or with --runtime",
        ExitCode.FILE,
    )
    assert chosen_runtime(loaded, "docker") == "docker"


def test_a_name_that_is_no_runtime_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        chosen_runtime(load(tmp_path, f"component: {{{MODEL}}}", MODEL_COMPOSE_RUNTIME="podman"), None)
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (
        "there is no runtime `podman`, which MODEL_COMPOSE_RUNTIME names",
        "there are process and docker",
        ExitCode.USAGE,
    )
