"""What is found on disk, and when a model there counts as whole."""

import json
import struct
import tracemalloc
from pathlib import Path

import pytest

from builders.hub_cache import HubCache, converted_folder, hub_cache, inspect_folder, is_whole_safetensors
from infra.errors import UserError
from tests.builders.conftest import CONFIG, MakeFolder, safetensors

pytestmark = pytest.mark.unit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HF_HOME": ""}, "~/.cache/huggingface/hub"),
    ],
)
def test_the_users_cache_is_found_as_huggingface_hub_finds_it(environ: dict[str, str], root: str) -> None:
    assert hub_cache(environ).root == Path(root).expanduser()
    assert hub_cache(environ, Path("~/mine")).root == Path("~/mine").expanduser()


def test_conversions_are_kept_in_our_own_cache() -> None:
    assert converted_folder({"XDG_CACHE_HOME": "/c"}, "a/b", COMMIT) == Path("/c/model-compose/converted/a/b") / COMMIT


def test_a_revision_stands_for_the_commit_it_was_fetched_at(tmp_path: Path) -> None:
    cache = HubCache(tmp_path)
    assert cache.commit("a/b", "main") is None
    assert cache.commit("a/b", COMMIT) == COMMIT
    cache.remember("a/b", "refs/pr/1", COMMIT)
    assert cache.commit("a/b", "refs/pr/1") == COMMIT
    assert (tmp_path / "models--a--b/refs/refs/pr/1").read_text() == COMMIT
    cache.remember("a/b", COMMIT, COMMIT)
    assert [path.name for path in (tmp_path / "models--a--b/refs").iterdir()] == ["refs"]
    (tmp_path / "models--a--b/refs/main").write_text("../../elsewhere")
    assert cache.commit("a/b", "main") is None


def test_a_whole_model_is_complete(make_folder: MakeFolder) -> None:
    model = inspect_folder(make_folder())
    assert (model.weights, model.missing, model.is_complete, model.needs_conversion) == (
        "model.safetensors",
        None,
        True,
        False,
    )


def test_pickled_weights_need_conversion(make_folder: MakeFolder) -> None:
    model = inspect_folder(make_folder(files={"model.safetensors": None, "pytorch_model.bin": b"x"}))
    assert (model.missing, model.needs_conversion) == (None, True)


INDEX = json.dumps({"weight_map": {"w": "model-00001-of-00002.safetensors", "v": "model-00002-of-00002.safetensors"}})


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({"config.json": None}, "config.json"),
        ({"config.json": "{"}, "config.json"),
        ({"config.json": "[]"}, "config.json"),
        ({"model.safetensors": None}, "weights"),
        ({"model.safetensors": safetensors(1000)[:-1]}, "model.safetensors"),
        ({"model.safetensors": None, "model.safetensors.index.json": "{}"}, "model.safetensors.index.json"),
        (
            {
                "model.safetensors": None,
                "model.safetensors.index.json": INDEX,
                "model-00001-of-00002.safetensors": safetensors(10),
            },
            "model-00002-of-00002.safetensors",
        ),
    ],
)
def test_what_is_missing_or_cut_off_is_named(
    make_folder: MakeFolder, files: dict[str, bytes | str | None], missing: str
) -> None:
    model = inspect_folder(make_folder(files=files))
    assert (model.missing, model.is_complete) == (missing, False)


def test_a_model_without_a_vocabulary_is_not_complete(make_folder: MakeFolder) -> None:
    model = inspect_folder(make_folder(files={"tokenizer.json": None, "vocab.json": "{}"}))
    assert (model.missing, model.is_complete) == (None, False)


def test_a_link_that_leads_nowhere_is_no_file(make_folder: MakeFolder) -> None:
    folder = make_folder(files={"model.safetensors": None})
    (folder / "model.safetensors").symlink_to(folder / "gone")
    assert inspect_folder(folder).missing == "weights"


@pytest.mark.parametrize(
    "content", [b"", b"1234567", b"\xff" * 8, b"\x02" + bytes(7) + b"{}", b"\x02" + bytes(7) + b"[]"]
)
def test_only_the_length_that_the_header_gives_is_whole(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert is_whole_safetensors(path) is content.endswith(b"{}")


def test_json_that_is_too_deep_is_as_good_as_none(make_folder: MakeFolder) -> None:
    deep = b"[" * 100_000
    index = {"model.safetensors": None, "model.safetensors.index.json": deep}
    assert inspect_folder(make_folder(files=index)).missing == "model.safetensors.index.json"
    shard = struct.pack("<Q", len(deep)) + deep
    assert inspect_folder(make_folder(files={"model.safetensors": shard})).missing == "model.safetensors"
    assert inspect_folder(make_folder(files={"config.json": deep})).missing == "config.json"


def test_no_header_is_read_that_safetensors_refuses(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(1 << 30)
    tracemalloc.start()
    assert not is_whole_safetensors(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000


def test_config_of_the_rig_is_read(make_folder: MakeFolder) -> None:
    assert inspect_folder(make_folder()).config == CONFIG


def test_without_a_home_folder_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(UserError) as caught:
        hub_cache({})
    assert caught.value.message == "there is no place to keep models: HOME is not set, and this user has no home folder"
    assert caught.value.hint == "set HOME, or HF_HOME and XDG_CACHE_HOME"
