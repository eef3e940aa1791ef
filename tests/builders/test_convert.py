"""Pickled weights become equal safetensors in a child that has nothing, or are refused without running anything."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builders import unpickle
from builders.convert import convert
from builders.hub_cache import inspect_folder
from builders.progress import Progress
from builders.weights import ModelSource, resolve
from infra.errors import ExitCode, UserError
from tests.builders.conftest import MakeFolder
from tests.builders.test_weights import ROOT, prepare
from tests.hub import FakeHub, Fault

pytestmark = pytest.mark.server

NAME = "microsoft/DialoGPT-medium"


class Evil:
    """Unpickled in full, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture(scope="module")
def dialogpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2 with tied embeddings, as `.bin` only."""
    from tests.models import make_model

    return make_model("gpt2", tmp_path_factory.mktemp("gpt2"), safetensors=False)


def run(source: Path, target: Path) -> None:
    convert("a/b", source, target, Progress(io.StringIO()))


def saved(make_folder: MakeFolder, value: object, **options: Any) -> Path:
    """A model folder whose pytorch_model.bin is `value`."""
    import torch

    folder = make_folder(files={"model.safetensors": None})
    torch.save(value, folder / "pytorch_model.bin", **options)
    return folder


def test_a_tied_model_loads_equal_after_the_conversion(dialogpt: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    environ = {"HF_HOME": str(tmp_path / "hf"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with FakeHub({NAME: dialogpt}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        resolved = resolve(ModelSource(repository=NAME), task="text-generation", environ=environ)
        assert resolved.path == tmp_path / "cache/model-compose/converted" / NAME / hub.commit(NAME)
        assert not resolved.path.exists()
        status, lines = prepare(resolved)
        assert (status, lines[-1]["stage"], lines[-1]["progress"]) == (0, "loading", 1.0)
    assert sorted(path.name for path in resolved.path.iterdir()) == [
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.json",
    ]
    original = transformers.AutoModelForCausalLM.from_pretrained(dialogpt)
    converted = transformers.AutoModelForCausalLM.from_pretrained(resolved.path)
    assert converted.get_input_embeddings().weight is converted.get_output_embeddings().weight
    expected, state = original.state_dict(), converted.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)

    for setting in ({}, {"HF_HUB_OFFLINE": "1"}):
        again = resolve(ModelSource(repository=NAME), task="text-generation", environ={**environ, **setting})
        assert (again.path, again.prepare) == (resolved.path, None)


def test_pickles_that_are_in_the_cache_are_converted_without_network(dialogpt: Path, tmp_path: Path) -> None:
    environ = {"HF_HOME": str(tmp_path / "hf"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    source = ModelSource(repository=NAME)
    with FakeHub({NAME: dialogpt}) as hub:
        first = {**environ, "HF_ENDPOINT": hub.url, "XDG_CACHE_HOME": str(tmp_path / "elsewhere")}
        assert prepare(resolve(source, task="text-generation", environ=first))[0] == 0
    environ["HF_HUB_OFFLINE"] = "1"
    resolved = resolve(source, task="text-generation", environ=environ)
    assert (resolved.bytes_to_fetch, resolved.path.exists()) == (0, False)
    assert prepare(resolved)[0] == 0
    assert inspect_folder(resolved.path).is_complete


def test_a_folder_with_pickles_is_converted_anew_when_it_changes(dialogpt: Path, tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    source = ModelSource(path=dialogpt)
    resolved = resolve(source, task="text-generation", environ=environ)
    assert prepare(resolved)[0] == 0
    ready = resolve(source, task="text-generation", environ=environ)
    assert (ready.path, ready.prepare) == (resolved.path, None)
    os.utime(dialogpt / "pytorch_model.bin", (1, 1))
    assert resolve(source, task="text-generation", environ=environ).path != resolved.path


def test_shards_stay_shards_and_get_an_index(make_folder: MakeFolder, tmp_path: Path) -> None:
    import safetensors.torch
    import torch

    base = torch.arange(12, dtype=torch.bfloat16)
    first = {"a": base.reshape(3, 4).T, "tied": base, "half": base[6:]}
    second = {"b": torch.ones(2, dtype=torch.float16), "empty": torch.zeros(0), "scalar": torch.tensor(7), "note": "x"}
    names = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    weight_map = {**dict.fromkeys(first, names[0]), **dict.fromkeys(second, names[1])}
    folder = make_folder(
        files={"model.safetensors": None, "pytorch_model.bin.index.json": json.dumps({"weight_map": weight_map})}
    )
    torch.save(first, folder / names[0])
    torch.save(second, folder / names[1], _use_new_zipfile_serialization=False)
    target = tmp_path / "converted"
    run(folder, target)
    assert inspect_folder(target).is_complete
    index = json.loads((target / "model.safetensors.index.json").read_text())
    assert index == {
        "metadata": {"total_size": 24 + 24 + 12 + 4 + 0 + 8},
        "weight_map": {
            **dict.fromkeys(first, "model-00001-of-00002.safetensors"),
            **dict.fromkeys(["b", "empty", "scalar"], "model-00002-of-00002.safetensors"),
        },
    }
    for tensors, name in ((first, index["weight_map"]["a"]), (second, index["weight_map"]["b"])):
        loaded = safetensors.torch.load_file(target / name)
        for key, tensor in loaded.items():
            expected = tensors[key]
            assert isinstance(expected, torch.Tensor)
            assert (tensor.dtype, tensor.shape) == (expected.dtype, expected.shape)
            assert torch.equal(tensor, expected)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(
    make_folder: MakeFolder, tmp_path: Path, zipped: bool
) -> None:
    import torch

    canary = tmp_path / "canary"
    folder = saved(make_folder, {"w": torch.ones(3), "x": Evil(canary)}, _use_new_zipfile_serialization=zipped)
    target = tmp_path / "cache" / "converted"
    with pytest.raises(UserError) as caught:
        run(folder, target)
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (
        "a/b is refused: its pickled weights are not plain tensors, and reading them in full could run code",
        "choose a repository with model.safetensors, or a revision that has it",
        ExitCode.FILE,
    )
    assert not canary.exists()
    assert list(target.parent.iterdir()) == []
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert canary.exists(), "the fixture must bite"


def test_the_refusal_reaches_the_runtime(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = saved(make_folder, {"x": Evil(tmp_path / "canary")})
    resolved = resolve(ModelSource(path=folder), task="text-generation", environ={"XDG_CACHE_HOME": str(tmp_path)})
    status, lines = prepare(resolved)
    assert (status, lines[-1]["error"]["message"]) == (
        3,
        f"{folder} is refused: its pickled weights are not plain tensors, and reading them in full could run code",
    )


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}])
def test_a_pickle_without_tensors_is_refused(make_folder: MakeFolder, tmp_path: Path, value: object) -> None:
    with pytest.raises(UserError) as caught:
        run(saved(make_folder, value), tmp_path / "converted")
    assert caught.value.message == "a/b is refused: its pickled weights hold no tensors under names"


@pytest.mark.parametrize("damage", [b"garbage", b"PK\x03\x04 not a zip"])
def test_a_damaged_pickle_is_refused(make_folder: MakeFolder, tmp_path: Path, damage: bytes) -> None:
    folder = make_folder(files={"model.safetensors": None, "pytorch_model.bin": damage})
    with pytest.raises(UserError, match=r"^a/b is refused: its pickled weights ") as caught:
        run(folder, tmp_path / "cache" / "converted")
    assert caught.value.exit_code == ExitCode.FILE
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_conversion_that_is_ended_ends_its_child(
    make_folder: MakeFolder, tmp_path: Path, number: signal.Signals
) -> None:
    """The child here only says its process id and waits for its parent's end."""
    probe = tmp_path / "probe.py"
    probe.write_text("import os, pathlib, sys; pathlib.Path(sys.argv[1], str(os.getpid())).touch(); os.read(0, 1)")
    folder, target = saved(make_folder, {}), tmp_path / "cache" / "converted"
    script = (
        f"import sys; from builders import unpickle, weights; unpickle.__file__ = {str(probe)!r}; "
        f"sys.exit(weights.main(['fetch', '--path', {str(folder)!r}, '--convert-into', {str(target)!r}]))"
    )
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while not (found := list(tmp_path.glob("cache/.converted.*/[0-9]*"))):
            assert process.stdout.readline()
        process.send_signal(number)
        process.stdout.read()
        assert process.wait() == -number
    while Path(f"/proc/{found[0].name}").exists():
        pass
    left = [] if number == signal.SIGTERM else [found[0].parent]
    assert list(target.parent.iterdir()) == left


def test_the_child_has_no_environment_and_an_isolated_interpreter(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import json, os, sys, pathlib\n"
        "seen = {'environ': sorted(os.environ), 'isolated': sys.flags.isolated, 'cwd': os.getcwd()}\n"
        "pathlib.Path(__file__).with_suffix('.json').write_text(json.dumps(seen))\n"
        "print(json.dumps({'refused': 'empty'}))\n"
    )
    monkeypatch.setattr(unpickle, "__file__", str(probe))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError):
        run(saved(make_folder, {}), tmp_path / "converted")
    seen = json.loads(probe.with_suffix(".json").read_text())
    # An interpreter may add the encoding it chose.
    assert set(seen["environ"]) <= {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}
    assert seen["isolated"] == 1
    assert Path(seen["cwd"]).name.startswith(".converted.")


def test_the_audit_hook_holds_python_code_back(tmp_path: Path) -> None:
    attempts = {
        "connect": "import socket; socket.create_connection(('127.0.0.1', 9))",
        "resolve": "import socket; socket.getaddrinfo('localhost', 80)",
        "spawn": "import os; os.system('true')",
        "popen": "import subprocess; subprocess.Popen(['true'])",
        "write": "open('loot', 'w')",
        "low-level write": "import os; os.open('loot', os.O_CREAT | os.O_WRONLY)",
        "remove": "import os; os.remove('kept')",
        "unpickle": "import pickle; pickle.loads(b'cos\\nsystem\\n.')",
        "library": "import ctypes; ctypes.CDLL(None)",
    }
    script = (
        f"import sys, socket, subprocess, pickle, ctypes; sys.path.insert(0, {str(Path(unpickle.__file__).parent)!r})\n"
        "import unpickle; sys.addaudithook(unpickle.watch)\n"
        f"for name, code in {attempts!r}.items():\n"
        "    try:\n"
        "        exec(code)\n"
        "    except unpickle.ForbiddenError:\n"
        "        print(name)\n"
    )
    (tmp_path / "kept").touch()
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == list(attempts)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_crashed_child_is_said_and_leaves_nothing(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(unpickle, "__file__", str(probe))
    with pytest.raises(UserError) as caught:
        run(saved(make_folder, {}), tmp_path / "cache" / "converted")
    assert caught.value.message == "the pickled weights of a/b could not be converted: the converter ended with -9"
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_conversion_left_is_cleared_away(dialogpt: Path, tmp_path: Path) -> None:
    target = tmp_path / "converted"
    abandoned = tmp_path / ".converted.abc"
    for folder in (abandoned, target):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    run(dialogpt, target)
    assert inspect_folder(target).is_complete
    assert not abandoned.exists()


def test_a_conversion_needs_room_for_its_result(dialogpt: Path, tmp_path: Path) -> None:
    environ = {"HF_HOME": str(tmp_path / "hf"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with FakeHub({NAME: dialogpt}, {NAME: Fault("huge")}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        with pytest.raises(UserError, match="not enough space in "):
            resolve(ModelSource(repository=NAME), task="text-generation", environ=environ)
