"""`plan` over a real command line and a hub on loopback."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from compose.cli import cli
from infra.errors import ExitCode, UserError
from tests.hub import FakeHub, Fault
from tests.models import make_model

pytestmark = pytest.mark.server

NAME = "acme/tiny"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model("llama", tmp_path_factory.mktemp("model"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file over a model of the hub, and an empty cache."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "model-compose.yml").write_text(f"component: {{type: model, task: text-generation, model: {NAME}}}\n")
    monkeypatch.chdir(folder)
    for name, value in {"HF_HOME": tmp_path / "hf", "XDG_CACHE_HOME": tmp_path / "cache"}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_steps_and_needs_are_told_and_nothing_large_is_fetched(
    project: Path, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with FakeHub({NAME: model}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        code, out, err = call("plan")
        asked = {request.path.rpartition("/")[2]: request.range for request in hub.requests if request.method == "GET"}
    assert (code, err) == (0, "")
    commit = hub.commit(NAME)[:12]
    lines = out.splitlines()
    assert lines[0].startswith(f"fetch  text-generation  {NAME} at {commit}, ")
    assert [line.split()[:2] for line in lines[5:7]] == [["text-generation", "download"], ["text-generation", "memory"]]
    assert "fits: needs" in lines[6]
    assert asked["model.safetensors"] == "bytes=0-100000"
    assert asked.keys() <= {"main", "config.json", "model.safetensors"}
    assert [path.name for path in project.iterdir()] == ["model-compose.yml"]
    kept = [path for path in (tmp_path / "hf").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) < 10_000


def test_json_has_every_figure(project: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHub({NAME: model}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        told = json.loads(call("plan", "--json")[1])
    assert [step["verb"] for step in told["steps"]] == ["fetch", "start", "start", "start"]
    (need,) = told["models"]
    assert need["download_bytes"] == need["disk_bytes"] > 100_000
    assert (need["dtype"], need["parameters"], need["rough"]) == ("float32", 33_952, False)
    assert (need["longest_tokens"], need["cache_tokens"]) == (256, 32 * 256)
    assert need["memory"]["weights_bytes"] == (33_952 + 480 * 32) * 4  # its head is packed beside the embedding
    assert [(verdict["service"], verdict["what"], verdict["answer"]) for verdict in told["verdicts"]] == [
        ("text-generation", "memory", "fits"),
        (None, "disk", "fits"),
        (None, "memory", "fits"),
    ]


def test_a_model_in_the_cache_is_judged_without_the_hub(
    project: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "model-compose.yml").write_text(f"component: {{type: model, task: text-generation, model: {model}}}\n")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, _ = call("plan")
    assert code == 0
    assert "text-generation  download  nothing, it is on this machine" in out


def test_a_hub_that_does_not_answer_leaves_the_needs_unknown(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code, out, err = call("plan")
    assert code == ExitCode.ENVIRONMENT
    assert out.splitlines()[-1] == (
        "text-generation  model  unknown: model-compose.yml:1:56: acme/tiny cannot be fetched: http://127.0.0.1:9"
        " cannot be reached"
    )
    assert err == "hint: check the network and the proxy settings; HF_ENDPOINT names another hub\n"


def test_headers_that_cannot_be_had_leave_the_download_known(
    project: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault("status", status=500, path="*.safetensors")
    with FakeHub({NAME: model}, {NAME: fault}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        code, out, _ = call("plan", "--json")
    (need,) = json.loads(out)["models"]
    assert code == ExitCode.ENVIRONMENT
    assert need["download_bytes"] > 100_000
    assert need["memory"] is None
    assert "answers 500" in need["problem"]


def test_up_refuses_models_that_do_not_fit_on_the_disk_together(
    project: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compose.commands.execute import plan_for
    from compose.machine import Disk, Machine
    from compose.output import Console
    from compose.state import Selection

    monkeypatch.setattr(Machine, "disk", lambda _self, _folder: Disk(1, 1000))
    with FakeHub({NAME: model}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        console, selection = Console(), Selection()
        with pytest.raises(UserError) as caught:
            plan_for(selection.load(console), selection.run_folder, project, console)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert "do not fit on its disk: they need" in caught.value.message
    assert "and 1.0 KB are free" in caught.value.message


def test_up_warns_of_memory_that_may_run_out(
    project: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from compose.commands.execute import plan_for
    from compose.output import Console
    from compose.state import Selection
    from services.engine.loading.machine import Processor

    monkeypatch.setattr("services.engine.loading.machine.this_processor", lambda: Processor(True, 10**8))
    with FakeHub({NAME: model}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        console, selection = Console(), Selection()
        plan_for(selection.load(console), selection.run_folder, project, console)
    assert capsys.readouterr().err == (
        "warning: memory may run out: the services need 540 MB, and 100 MB are available; `model-compose plan` tells"
        " more\n"
    )
