"""Models named in a file are found in the cache, on the hub or in a folder, or refused in one sentence."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builders.weights import ModelSource, Resolved, resolve
from infra.errors import ExitCode, UserError
from tests.builders.conftest import MakeFolder, safetensors
from tests.hub import CDN, TOKEN, FakeHub, Fault

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
NAME = "HuggingFaceTB/SmolLM3-3B"


def prepare(resolved: Resolved) -> tuple[int, list[dict[str, Any]]]:
    """Run the step as the runtime does; exit status and the lines it printed."""
    assert resolved.prepare is not None
    done = subprocess.run(
        [sys.executable, "-m", *resolved.prepare],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **resolved.prepare_environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def printed(error: UserError, hub: FakeHub | None = None) -> str:
    """What a terminal would show, with the hub's address as HUB."""
    text = f"{error.message}\n{error.hint}\nexit {int(error.exit_code)}"
    return text.replace(hub.url, "HUB") if hub else text


def refusal(source: ModelSource, environ: dict[str, str], task: str = "chat-completion") -> UserError:
    with pytest.raises(UserError) as caught:
        resolve(source, task=task, environ=environ)
    return caught.value


def test_a_model_is_found_fetched_once_and_then_used_without_any_request(
    make_folder: MakeFolder, environ: dict[str, str]
) -> None:
    folder = make_folder(
        files={
            "README.md": "#",
            "modeling_evil.py": "boom",
            "onnx/model.onnx": b"x",
            "pytorch_model.bin": b"x",
            "training_args.bin": b"x",
            "consolidated.safetensors": b"x",
            "tokenizer_config.json": "{}",
        }
    )
    source = ModelSource(repository=NAME)
    with FakeHub({NAME: folder}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        resolved = resolve(source, task="chat-completion", environ=environ)
        commit = hub.commit(NAME)
        assert resolved.path == Path(environ["HF_HOME"]) / "hub/models--HuggingFaceTB--SmolLM3-3B/snapshots" / commit
        assert resolved.revision == commit
        # Neither what is in the cache by now (config.json) nor what is never fetched; and equal content only once.
        assert resolved.bytes_to_fetch == (folder / "model.safetensors").stat().st_size + 2
        assert [(request.method, request.path) for request in hub.requests] == [
            ("GET", f"/api/models/{NAME}/revision/main"),
            ("HEAD", f"/{NAME}/resolve/{commit}/config.json"),
            ("GET", f"/{NAME}/resolve/{commit}/config.json"),
        ]
        hub.requests.clear()

        status, lines = prepare(resolved)
        assert status == 0
        assert lines[-1] == {
            "stage": "downloading",
            "bytes": resolved.bytes_to_fetch,
            "total_bytes": resolved.bytes_to_fetch,
            "progress": 1.0,
        }
        assert hub.files_sent() == ["model.safetensors", "tokenizer.json"]
        assert sorted(path.name for path in resolved.path.iterdir()) == [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
        hub.requests.clear()

        for setting in ({}, {"HF_HUB_OFFLINE": "1"}):
            again = resolve(source, task="chat-completion", environ={**environ, **setting})
            assert (again.path, again.prepare, again.bytes_to_fetch) == (resolved.path, None, 0)
            assert dict(again.prepare_environment) == {}
        assert hub.requests == []


def partly_fetched(environ: dict[str, str], hub: FakeHub) -> ModelSource:
    """A model of which another tool left out one file."""
    environ["HF_ENDPOINT"] = hub.url
    source = ModelSource(repository=NAME)
    found = resolve(source, task="chat-completion", environ=environ)
    assert prepare(found)[0] == 0
    (found.path / "generation_config.json").unlink()
    hub.requests.clear()
    return source


LOCKED = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")


@pytest.mark.parametrize("baked", [(), LOCKED], ids=["as the hub lists them", "as the lock has them"])
def test_an_image_gets_the_files_that_another_tool_left_out(
    make_folder: MakeFolder, environ: dict[str, str], baked: tuple[str, ...]
) -> None:
    with FakeHub({NAME: make_folder(files={"generation_config.json": "{}"})}) as hub:
        source = partly_fetched(environ, hub)
        assert resolve(source, task="chat-completion", environ=environ).prepare is None
        assert hub.requests == [], "processes use what is there"
        resolved = resolve(source, task="chat-completion", environ=environ, baked=baked)
        assert prepare(resolved)[0] == 0
        assert (resolved.path / "generation_config.json").is_file()
        hub.requests.clear()
        again = resolve(source, task="chat-completion", environ=environ, baked=LOCKED)
        assert (again.prepare, again.unlisted, hub.requests) == (None, False, [])
        assert resolve(source, task="chat-completion", environ=environ, baked=()) == again


def test_without_the_hub_an_image_gets_what_is_here_unless_a_lock_names_more(
    make_folder: MakeFolder, environ: dict[str, str]
) -> None:
    with FakeHub({NAME: make_folder(files={"generation_config.json": "{}"})}) as hub:
        source = partly_fetched(environ, hub)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        environ["HF_ENDPOINT"] = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    for setting in ({}, {"HF_HUB_OFFLINE": "1"}):
        here = {**environ, **setting}
        found = resolve(source, task="chat-completion", environ=here, baked=())
        assert (found.prepare, found.unlisted) == (None, True)
        assert not resolve(source, task="chat-completion", environ=here, baked=["config.json"]).unlisted
        with pytest.raises(UserError) as caught:
            resolve(source, task="chat-completion", environ=here, baked=["generation_config.json"])
        assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_shards_come_by_their_index(make_folder: MakeFolder, environ: dict[str, str]) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    folder = make_folder(
        files={
            "model.safetensors": None,
            "model.safetensors.index.json": json.dumps(index),
            "model-1.safetensors": safetensors(5000),
            "model-2.safetensors": safetensors(7000, fill=9),
            "model-3.safetensors": safetensors(10),
        }
    )
    with FakeHub({NAME: folder}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        resolved = resolve(ModelSource(repository=NAME), task="text-generation", environ=environ)
        assert prepare(resolved)[0] == 0
        assert hub.files_sent() == [
            "config.json",
            "model-1.safetensors",
            "model-2.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
        ]
    assert resolve(ModelSource(repository=NAME), task="text-generation", environ=environ).prepare is None


def test_a_listed_shard_that_is_absent_is_told_before_anything_large_comes(
    make_folder: MakeFolder, environ: dict[str, str]
) -> None:
    files = {"model.safetensors": None, "model.safetensors.index.json": '{"weight_map": {"a": "model-7.safetensors"}}'}
    with FakeHub({NAME: make_folder(files=files)}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        assert printed(refusal(ModelSource(repository=NAME), environ)) == (
            "the weights of HuggingFaceTB/SmolLM3-3B are incomplete: model-7.safetensors is absent or broken\n"
            "choose another `revision`, or another model\n"
            "exit 3"
        )


NO_SUCH_MODEL = (
    "no such model: HuggingFaceTB/SmolLM3-1.7B does not exist on HUB, or it is private\n"
    "check the spelling; for a private model run `hf auth login` or set HF_TOKEN\n"
    "exit 4"
)
GATED = (
    "HuggingFaceTB/SmolLM3-1.7B is gated: only those who accepted its owner's terms may have it\n"
    "accept them at HUB/HuggingFaceTB/SmolLM3-1.7B, then run `hf auth login` or set HF_TOKEN\n"
    "exit 4"
)


@pytest.mark.parametrize(
    ("fault", "token", "expected"),
    [
        (None, None, NO_SUCH_MODEL),
        (None, "hf_other", NO_SUCH_MODEL),
        (Fault("private"), None, NO_SUCH_MODEL),
        (Fault("gated"), None, GATED),
        (Fault("gated"), "hf_other", GATED),
        (
            Fault("status", status=429),
            None,
            "HUB asks to slow down (429), so HuggingFaceTB/SmolLM3-1.7B cannot be fetched now\n"
            "wait some minutes and repeat the command; a token in HF_TOKEN raises the limit\n"
            "exit 4",
        ),
        (
            Fault("status", status=503),
            None,
            "HUB answers 503, so HuggingFaceTB/SmolLM3-1.7B cannot be fetched now\n"
            "repeat the command later; what has come so far is kept\n"
            "exit 4",
        ),
        (
            Fault("status", status=403),
            "hf_other",
            "HUB does not accept the token for HuggingFaceTB/SmolLM3-1.7B\n"
            "make a new one with read access; give it to `hf auth login` or set HF_TOKEN\n"
            "exit 4",
        ),
        (Fault("status", status=404), None, NO_SUCH_MODEL),
        (
            Fault("status", status=200),
            None,
            "HuggingFaceTB/SmolLM3-1.7B cannot be fetched: HUB does not answer as a model hub does\n"
            "check HF_ENDPOINT, and whether a proxy or a login page stands in between\n"
            "exit 4",
        ),
    ],
)
def test_what_the_hub_refuses_is_one_sentence_and_a_remedy(
    make_folder: MakeFolder, environ: dict[str, str], fault: Fault | None, token: str | None, expected: str
) -> None:
    name = "HuggingFaceTB/SmolLM3-1.7B"
    folders, faults = ({name: make_folder()}, {name: fault}) if fault else ({}, {})
    with FakeHub(folders, faults) as hub:
        environ["HF_ENDPOINT"] = hub.url
        assert printed(refusal(ModelSource(repository=name, token=token), environ), hub) == expected
    assert not list(Path(environ["HF_HOME"]).rglob("model.safetensors"))


@pytest.mark.parametrize("fault", [Fault("private"), Fault("gated")])
def test_a_token_opens_private_and_gated_models_and_stands_in_one_place_only(
    make_folder: MakeFolder, environ: dict[str, str], fault: Fault
) -> None:
    with FakeHub({NAME: make_folder()}, {NAME: fault}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        resolved = resolve(ModelSource(repository=NAME, token=TOKEN), task="chat-completion", environ=environ)
        assert resolved.prepare_environment["HF_TOKEN"] == TOKEN
        assert TOKEN not in repr((resolved.path, resolved.prepare))
        status, lines = prepare(resolved)
        assert (status, TOKEN in repr(lines)) == (0, False)


def test_a_token_stays_with_the_hub(make_folder: MakeFolder, environ: dict[str, str]) -> None:
    with FakeHub({NAME: make_folder()}, {NAME: Fault("gated")}, cdn=True) as hub:
        environ.update(HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
        resolved = resolve(ModelSource(repository=NAME), task="chat-completion", environ=environ)
        assert prepare(resolved)[0] == 0
        seen = {(request.host.partition(":")[0], request.token) for request in hub.requests}
        assert seen == {("127.0.0.1", TOKEN), (CDN, None)}


def test_a_stored_login_is_used(make_folder: MakeFolder, environ: dict[str, str]) -> None:
    login = Path(environ["HF_HOME"]) / "token"
    login.parent.mkdir()
    login.write_text(TOKEN)
    with FakeHub({NAME: make_folder()}, {NAME: Fault("private")}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        step = ("builders.weights", "fetch", "--repository", NAME)
        assert prepare(Resolved(Path(), None, {}, step, environ))[0] == 0
        assert {request.token for request in hub.requests} == {TOKEN}
    assert resolve(ModelSource(repository=NAME), task="chat-completion", environ=environ).prepare is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_asked_again(make_folder: MakeFolder, environ: dict[str, str], status: int) -> None:
    with FakeHub({NAME: make_folder()}, {NAME: Fault("status", status=status, times=2)}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        assert resolve(ModelSource(repository=NAME), task="chat-completion", environ=environ).prepare is not None


def test_a_revision_that_is_not_there_is_named(make_folder: MakeFolder, environ: dict[str, str]) -> None:
    with FakeHub({NAME: make_folder()}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        assert printed(refusal(ModelSource(repository=NAME, revision="v9"), environ), hub) == (
            "HuggingFaceTB/SmolLM3-3B has no revision 'v9'\n"
            "take a branch, tag or commit of HUB/HuggingFaceTB/SmolLM3-3B/commits, or none for the newest\n"
            "exit 3"
        )
        pinned = ModelSource(repository=NAME, revision=hub.commit(NAME))
        assert resolve(pinned, task="chat-completion", environ=environ).revision == hub.commit(NAME)


def test_without_network_the_sentence_says_so(environ: dict[str, str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = environ["HF_ENDPOINT"] = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert printed(refusal(ModelSource(repository=NAME), environ)) == (
            f"HuggingFaceTB/SmolLM3-3B cannot be fetched: {url} cannot be reached\n"
            "check the network and the proxy settings; HF_ENDPOINT names another hub\n"
            "exit 4"
        )


def test_an_address_without_a_scheme_is_no_hub(environ: dict[str, str]) -> None:
    environ["HF_ENDPOINT"] = "hub.example.org"
    assert printed(refusal(ModelSource(repository=NAME), environ)) == (
        "HuggingFaceTB/SmolLM3-3B cannot be fetched: hub.example.org is not an address of a hub\n"
        "let HF_ENDPOINT begin with https://, or unset it\n"
        "exit 4"
    )


def test_finding_a_model_that_is_here_loads_no_library(make_folder: MakeFolder) -> None:
    script = (
        "import sys; from pathlib import Path; from builders.weights import ModelSource, resolve\n"
        f"resolve(ModelSource(path=Path({str(make_folder())!r})), task='chat-completion', environ={{}})\n"
        "print(sorted({'huggingface_hub', 'httpx2', 'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("source", "setting", "reason"),
    [
        (ModelSource(repository=NAME), {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        (ModelSource(repository=NAME), {"TRANSFORMERS_OFFLINE": "yes"}, "HF_HUB_OFFLINE is set"),
        (ModelSource(repository=NAME, local_files_only=True), {}, "`local_files_only` is set"),
    ],
)
def test_a_model_that_may_not_be_fetched_must_be_in_the_cache(
    environ: dict[str, str], source: ModelSource, setting: dict[str, str], reason: str
) -> None:
    assert printed(refusal(source, {**environ, **setting})) == (
        f"HuggingFaceTB/SmolLM3-3B is not in the cache, or only a part of it, and {reason}\n"
        "fetch it once with network: `hf download HuggingFaceTB/SmolLM3-3B`, or run the command without that setting\n"
        "exit 4"
    )


def test_the_size_is_compared_with_the_disk_before_anything_comes(
    make_folder: MakeFolder, environ: dict[str, str]
) -> None:
    with FakeHub({NAME: make_folder()}, {NAME: Fault("huge")}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        error = refusal(ModelSource(repository=NAME), environ)
        assert hub.files_sent() == ["config.json"]
    assert error.message.startswith(f"not enough space in {environ['HF_HOME']}/hub: 1000 TB are needed and ")
    assert error.exit_code == ExitCode.ENVIRONMENT


def test_a_misfit_is_told_before_its_weights_come(make_folder: MakeFolder, environ: dict[str, str]) -> None:
    config = {"architectures": ["BertForSequenceClassification"], "model_type": "bert"}
    with FakeHub({"a/bert": make_folder(files={"config.json": json.dumps(config)})}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        assert printed(refusal(ModelSource(repository="a/bert"), environ, "text-generation")) == (
            "a/bert does not fit text-generation: it is a BertForSequenceClassification, "
            "which fits text-classification\n"
            "choose a model that generates text, such as HuggingFaceTB/SmolLM3-3B\n"
            "exit 3"
        )
        assert hub.files_sent() == ["config.json"]


@pytest.mark.parametrize("name", ["a/b/c", "../x", "a b", "", "a//b", "-a/b", "a/..", "a--b/c"])
def test_what_cannot_be_a_repository_is_refused_without_asking(environ: dict[str, str], name: str) -> None:
    error = refusal(ModelSource(repository=name), environ)
    assert (error.message, error.exit_code) == (f"{name!r} is not the name of a model on the hub", ExitCode.FILE)


@pytest.mark.parametrize("revision", ["../../x", "/etc", "a b", ".."])
def test_what_cannot_be_a_revision_is_refused_without_asking(environ: dict[str, str], revision: str) -> None:
    error = refusal(ModelSource(repository=NAME, revision=revision), environ)
    assert (error.message, error.exit_code) == (f"{revision!r} is not a branch, tag or commit", ExitCode.FILE)


def test_a_folder_is_used_where_it_is(make_folder: MakeFolder, environ: dict[str, str]) -> None:
    folder = make_folder()
    assert resolve(ModelSource(path=folder), task="chat-completion", environ=environ) == Resolved(
        folder, None, {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": None, "model.safetensors": None, "tokenizer.json": None}, "there is no folder PATH"),
        ({"config.json": None}, "PATH is not a transformers model: it has no config.json"),
        (
            {"model.safetensors": None},
            "PATH has no weights: neither model.safetensors nor pytorch_model.bin is there",
        ),
        ({"model.safetensors": b"cut"}, "PATH is not a whole model: model.safetensors is absent or broken"),
        (
            {"config.json": '{"architectures": ["BertModel"]}'},
            "PATH does not fit chat-completion: it is a BertModel, which fits text-embedding",
        ),
    ],
)
def test_a_folder_that_is_no_model_is_refused(
    make_folder: MakeFolder, environ: dict[str, str], files: dict[str, bytes | str | None], message: str
) -> None:
    folder = make_folder(files=files)
    error = refusal(ModelSource(path=folder), environ)
    assert (error.message.replace(str(folder), "PATH"), error.exit_code) == (message, ExitCode.FILE)
    assert error.hint
