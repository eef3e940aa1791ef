"""For vectors, the files that say how to pool are fetched when another tool left them out of the cache."""

import json
from pathlib import Path

import pytest

from builders.hub_cache import HubCache
from builders.weights import ModelSource, Resolved, resolve
from tests.builders.conftest import MakeFolder
from tests.builders.test_weights import prepare
from tests.hub import FakeHub

pytestmark = pytest.mark.server

NAME = "BAAI/bge-small-en-v1.5"
CONFIG = json.dumps({"architectures": ["BertModel"], "model_type": "bert"})
MODULES = json.dumps(
    [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
)
STEPS = {"modules.json": MODULES, "1_Pooling/config.json": '{"pooling_mode_cls_token": true}'}


def find(environ: dict[str, str], *, local_files_only: bool = False) -> Resolved:
    source = ModelSource(repository=NAME, local_files_only=local_files_only)
    return resolve(source, task="text-embedding", environ=environ)


def cached(hub: FakeHub, folder: Path, environ: dict[str, str], *, without: set[str]) -> Path:
    """A snapshot as another tool left it."""
    cache = HubCache(Path(environ["HF_HOME"]) / "hub")
    snapshot = cache.snapshot(NAME, hub.commit(NAME))
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in without:
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / name).write_bytes(path.read_bytes())
    cache.remember(NAME, "main", hub.commit(NAME))
    return snapshot


@pytest.mark.parametrize("without", [{"modules.json", "1_Pooling/config.json"}, {"1_Pooling/config.json"}])
def test_what_another_tool_left_out_is_fetched_before_vectors_are_made(
    make_folder: MakeFolder, environ: dict[str, str], without: set[str]
) -> None:
    folder = make_folder(files={"config.json": CONFIG, **STEPS})
    with FakeHub({NAME: folder}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        snapshot = cached(hub, folder, environ, without=without)
        found = find(environ)
        assert (found.path, found.bytes_to_fetch) == (snapshot, sum(len(STEPS[name]) for name in without))
        assert prepare(found)[0] == 0
        assert hub.files_sent() == sorted(without)
        hub.requests.clear()
        assert find(environ) == Resolved(snapshot, hub.commit(NAME), json.loads(CONFIG))
        assert hub.requests == []


def test_a_conversion_gets_what_came_since(make_folder: MakeFolder, environ: dict[str, str]) -> None:
    pickle = {"model.safetensors": None, "pytorch_model.bin": b"x"}
    folder = make_folder(files={"config.json": CONFIG, **STEPS, **pickle})
    whole = make_folder("converted", files={"config.json": CONFIG})
    with FakeHub({NAME: folder}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        cached(hub, folder, environ, without=set(STEPS))
        converted = Path(environ["XDG_CACHE_HOME"]) / "model-compose/converted" / NAME / hub.commit(NAME)
        converted.parent.mkdir(parents=True)
        whole.rename(converted)
        assert prepare(find(environ))[0] == 0
        assert {name: (converted / name).read_text() for name in STEPS} == STEPS
        assert find(environ).prepare is None


def test_the_hub_is_asked_once_for_what_it_does_not_have(make_folder: MakeFolder, environ: dict[str, str]) -> None:
    folder = make_folder(files={"config.json": CONFIG})
    with FakeHub({NAME: folder}) as hub:
        environ["HF_ENDPOINT"] = hub.url
        snapshot = cached(hub, folder, environ, without=set())
        assert find(environ) == Resolved(snapshot, hub.commit(NAME), json.loads(CONFIG))
        assert [request.path for request in hub.requests] == [f"/api/models/{NAME}/revision/{hub.commit(NAME)}"]
        hub.requests.clear()
        assert find(environ).prepare is None
        assert hub.requests == []


def test_without_a_hub_to_ask_the_snapshot_is_used_as_it_is(make_folder: MakeFolder, environ: dict[str, str]) -> None:
    folder = make_folder(files={"config.json": CONFIG, **STEPS})
    with FakeHub({NAME: folder}) as hub:
        snapshot = cached(hub, folder, environ, without=set(STEPS))
        expected = Resolved(snapshot, hub.commit(NAME), json.loads(CONFIG))
        assert find(environ) == expected, "nobody answers there"
        environ["HF_ENDPOINT"] = hub.url
        assert find({**environ, "HF_HUB_OFFLINE": "1"}) == expected
        assert find(environ, local_files_only=True) == expected
        assert hub.requests == []
