"""A model's folder becomes layers: the same for the same weights, shared by tasks, never with what is not a model."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from builders import baking
from builders.baking import pack, read_set, set_bytes
from builders.file_store import FileStore
from builders.images.tar import File, Link
from infra.errors import ExitCode, UserError
from tests.builders.conftest import MakeFolder, safetensors

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baking, "LARGE_BYTES", 10_000)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_set_is_named_by_the_lines_that_sha256sum_would_write(make_folder: MakeFolder, store: FileStore) -> None:
    folder = make_folder()
    weights = read_set(folder, "tiny", store)
    names = ["config.json", "model.safetensors", "tokenizer.json"]
    lines = "".join(f"{sha256(folder / name)}  {name}\n" for name in names)
    assert weights.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert weights.folder == f"/models/{weights.digest}"
    assert set_bytes(folder, "tiny") == sum((folder / name).stat().st_size for name in names)


def test_only_what_loading_needs_is_baked(make_folder: MakeFolder, store: FileStore) -> None:
    unwanted = (
        "model.onnx",
        "tf_model.h5",
        "flax_model.msgpack",
        "pytorch_model.bin",
        "training_args.bin",
        "modeling_own.py",
        "README.md",
        ".env",
        ".git/config",
        "id_rsa",
        "server.pem",
        "onnx/model.onnx",
    )
    wanted = ("chat_template.jinja", "merges.txt", "spiece.model", "vocab.txt", "1_Pooling/config.json")
    folder = make_folder(files=dict.fromkeys((*unwanted, *wanted), "content"))
    names = [name for name, _ in read_set(folder, "tiny", store).files]
    assert names == sorted((*wanted, "config.json", "model.safetensors", "tokenizer.json"))


def test_large_files_have_layers_of_their_own_and_the_set_links_to_them(
    make_folder: MakeFolder, store: FileStore
) -> None:
    weights = read_set(make_folder(), "tiny", store)
    files = dict(weights.files)
    large = files["model.safetensors"]
    blobs, bundle = pack(weights)
    assert blobs.tree == {f"/models/blobs/{large.sha256}": File(large.path, lasting=True)}
    assert bundle.tree == {
        f"/models/{weights.digest}/config.json": File(files["config.json"].path, lasting=True),
        f"/models/{weights.digest}/model.safetensors": Link(f"../blobs/{large.sha256}"),
        f"/models/{weights.digest}/tokenizer.json": File(files["tokenizer.json"].path, lasting=True),
    }


def test_a_link_leads_out_of_a_folder_of_the_set(make_folder: MakeFolder, store: FileStore) -> None:
    folder = make_folder(files={"2_Dense/model.safetensors": safetensors(20_000), "2_Dense/config.json": "{}"})
    weights = read_set(folder, "tiny", store)
    digest = dict(weights.files)["2_Dense/model.safetensors"].sha256
    assert pack(weights)[-1].tree[f"{weights.folder}/2_Dense/model.safetensors"] == Link(f"../../blobs/{digest}")


def test_another_tokenizer_leaves_the_layer_of_the_weights_as_it_is(make_folder: MakeFolder, store: FileStore) -> None:
    first = read_set(make_folder("first"), "tiny", store)
    second = read_set(make_folder("second", {"tokenizer.json": '{"other": 1}'}), "tiny", store)
    assert first.digest != second.digest
    assert [layer.key for layer in pack(first)[:-1]] == [layer.key for layer in pack(second)[:-1]]


def test_two_folders_with_the_same_model_are_one_set_that_is_stored_once(
    make_folder: MakeFolder, store: FileStore, tmp_path: Path
) -> None:
    first, second = (read_set(make_folder(name), "tiny", store) for name in ("first", "second"))
    assert first == second
    assert len(list((tmp_path / "store" / "files").iterdir())) == 3


def test_another_folder_in_the_image_is_another_layer(
    make_folder: MakeFolder, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = read_set(make_folder(), "tiny", store)
    before = {layer.key for layer in pack(weights)}
    monkeypatch.setattr(baking, "MODELS", "/elsewhere")
    assert before.isdisjoint(layer.key for layer in pack(weights))


def test_there_are_at_most_64_layers(store: FileStore) -> None:
    from builders.file_store import StoredFile

    files = tuple(
        (f"model-{number:05}.safetensors", StoredFile(Path("x"), f"{number:064x}", 20_000)) for number in range(200)
    )
    layers = pack(baking.WeightsSet(files))
    assert len(layers) <= baking.MOST_LAYERS
    assert sum(len(layer.tree) for layer in layers[:-1]) == 200
    assert len({layer.key for layer in layers}) == len(layers)


def test_a_folder_that_was_read_is_not_read_again(
    make_folder: MakeFolder, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder()
    counted: list[int] = []
    first = read_set(folder, "tiny", store, counted.append)
    assert sum(counted) == set_bytes(folder, "tiny")
    assert read_set(folder, "tiny", store, lambda _: pytest.fail("read again")) == first


def test_a_file_of_the_users_is_copied_so_that_a_later_change_harms_no_image(
    make_folder: MakeFolder, store: FileStore
) -> None:
    folder = make_folder()
    stored = dict(read_set(folder, "tiny", store).files)["config.json"]
    (folder / "config.json").write_text('{"model_type": "other", "architectures": []}')
    assert sha256(stored.path) == stored.sha256
    assert dict(read_set(folder, "tiny", store).files)["config.json"].sha256 == sha256(folder / "config.json")


def snapshot_of(tmp_path: Path, folder: Path, *, damage: bool = False) -> Path:
    """The files of `folder` as huggingface_hub keeps them."""
    storage = tmp_path / "hub" / "models--tiny--one"
    snapshot = storage / "snapshots" / ("1" * 40)
    snapshot.mkdir(parents=True)
    (storage / "blobs").mkdir()
    for path in folder.iterdir():
        content = path.read_bytes()
        is_large = path.suffix == ".safetensors"
        name = (
            hashlib.sha256(content).hexdigest()
            if is_large
            else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        )
        blob = storage / "blobs" / name
        changed = content[:-1] + b"!" if damage and is_large else content
        blob.write_bytes(changed)
        (snapshot / path.name).symlink_to(f"../../blobs/{name}")
    return snapshot


def test_weights_of_the_hub_share_their_place_on_the_disk(
    make_folder: MakeFolder, store: FileStore, tmp_path: Path
) -> None:
    snapshot = snapshot_of(tmp_path, make_folder())
    stored = dict(read_set(snapshot, "tiny/one", store).files)["model.safetensors"]
    assert stored.path.samefile(snapshot / "model.safetensors")
    assert read_set(snapshot, "tiny/one", store) == read_set(make_folder(), "tiny", store)


def test_content_that_is_not_the_hubs_is_named(make_folder: MakeFolder, store: FileStore, tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path, make_folder(), damage=True)
    blob = (snapshot / "model.safetensors").resolve()
    with pytest.raises(UserError) as caught:
        read_set(snapshot, "tiny/one", store)
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert caught.value.message == (
        f"model.safetensors of tiny/one is damaged: its content is not what the hub lists, {blob.name[:12]}..."
    )
    assert caught.value.hint == f"delete {blob}, and repeat the command: the file is fetched again"
    assert not list((tmp_path / "store" / "files").glob(blob.name))


def test_a_planted_link_is_refused(make_folder: MakeFolder, store: FileStore, tmp_path: Path) -> None:
    folder = make_folder()
    (tmp_path / "secret").write_text("loot")
    (folder / "special_tokens_map.json").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError) as caught:
        read_set(folder, "tiny", store)
    assert caught.value.message == (
        "special_tokens_map.json of tiny is a link out of its folder, and is not put into an image"
    )


def test_a_name_that_would_forge_a_line_of_the_set_is_refused(make_folder: MakeFolder, store: FileStore) -> None:
    folder = make_folder(files={f"a.json\n{'0' * 64}  config.json": "{}"})
    with pytest.raises(UserError, match="which no image may hold"):
        read_set(folder, "tiny", store)


def test_credentials_are_refused(make_folder: MakeFolder, store: FileStore) -> None:
    folder = make_folder(files={"account.json": '{"type": "service_account", "private_key": "-----BEGIN"}'})
    with pytest.raises(UserError) as caught:
        read_set(folder, "tiny", store)
    assert (caught.value.message, caught.value.exit_code) == (
        "account.json of tiny holds a private key, and is not put into an image",
        ExitCode.FILE,
    )


def test_a_vocabulary_may_have_any_word(make_folder: MakeFolder, store: FileStore) -> None:
    folder = make_folder(files={"vocab.json": '{"private_key": 7}', "added_tokens.json": '["private_key", 1]'})
    assert {"vocab.json", "added_tokens.json"} <= dict(read_set(folder, "tiny", store).files).keys()


def test_an_index_leads_to_no_pickle(make_folder: MakeFolder, store: FileStore) -> None:
    index = '{"weight_map": {"w": "evil.bin"}}'
    files = {"model.safetensors": None, "model.safetensors.index.json": index, "evil.bin": b"pickled"}
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json is absent or broken"):
        read_set(make_folder(files=files), "tiny", store)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model.safetensors": None}, "tiny has no weights: neither model.safetensors nor pytorch_model.bin is there"),
        ({"model.safetensors": b"short"}, "tiny is not a whole model: model.safetensors is absent or broken"),
    ],
)
def test_what_is_no_whole_model_is_refused(
    make_folder: MakeFolder, store: FileStore, files: dict[str, bytes | None], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        read_set(make_folder(files=files), "tiny", store)
    assert (caught.value.message, caught.value.exit_code) == (message, ExitCode.FILE)


def test_a_store_whose_file_is_gone_takes_it_again(make_folder: MakeFolder, store: FileStore) -> None:
    folder = make_folder()
    first = read_set(folder, "tiny", store)
    dict(first.files)["model.safetensors"].path.unlink()
    again = read_set(folder, "tiny", store)
    assert dataclasses.asdict(again) == dataclasses.asdict(first)
    assert dict(again.files)["model.safetensors"].path.is_file()
