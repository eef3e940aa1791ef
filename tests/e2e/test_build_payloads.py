"""Texts of a file that may be anything stay texts in the images, and links lead nowhere out of a model's folder."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.images.store import BlobStore
from builders.spec import stored_name
from tests.e2e.workshop import Workshop

pytestmark = pytest.mark.server

PAYLOAD = "x\nRUN touch owned; $(touch owned) `touch owned` {{ self.__init__.__globals__ }} --index-url=x '\""
PLACE = "./a b; $(touch owned)`touch owned`{{ 1 }}"
"""Of the model: a folder may be called so."""
NOT_OURS = (".env", ".git/config", "id_rsa", "server.pem", ".npmrc", "notes.txt", "setup.sh", "Dockerfile.template")


def members(shop: Workshop, service: str) -> Iterator[tuple[str, bytes]]:
    """The files of an image."""
    store = BlobStore.of(shop.environment)
    image = store.image(stored_name(shop.folder, f"shop/{service}:latest"))
    assert image is not None
    yield "config", image.config
    for layer in image.layers:
        with store.open(layer.digest) as blob, tarfile.open(fileobj=blob, mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                yield member.name, content.read() if content else member.linkname.encode()


def test_texts_stay_texts_and_only_the_model_is_taken(materials: Path, tmp_path: Path) -> None:
    shop = Workshop.make(tmp_path, materials)
    model = shop.folder / "model"
    for name in NOT_OURS:
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_text("sentinel of a file")
    (model / "vocab.json").symlink_to("vocab.json")
    model.rename(shop.folder / PLACE)
    component = {"id": "chat", "type": "model", "task": "chat-completion", "model": PLACE, "chat_template": PAYLOAD}
    workflow = {"title": PAYLOAD, "description": PAYLOAD, "output": {"text": PAYLOAD}}
    file = {"controller": {"name": PAYLOAD, "webui": {}}, "component": component, "workflow": workflow}
    (shop.folder / "model-compose.yml").write_text(json.dumps(file), encoding="utf-8")
    shop.build()
    task, router, page = (dict(members(shop, service)) for service in ("task-chat", "router", "page"))
    assert json.loads(task["config"])["config"]["Labels"]["model-compose.model"] == PLACE
    assert json.loads(task["opt/model-compose/task.json"])["chat_template"] == PAYLOAD
    (workflow_told,) = json.loads(router["opt/model-compose/router.json"])["workflows"]
    assert (workflow_told["title"], workflow_told["description"]) == (PAYLOAD, PAYLOAD)
    told = {"config", "opt/model-compose/task.json", "opt/model-compose/bento/src/task.json"}
    told |= {"opt/model-compose/router.json", "opt/model-compose/page.json", "opt/model-compose/sbom.cdx.json"}
    for image in (task, router, page):
        assert {name for name, content in image.items() if b"touch owned" in content} <= told
        assert not [name for name, content in image.items() if b"sentinel" in content or name.endswith("vocab.json")]
        assert json.loads(image["config"])["config"]["Entrypoint"][:3] == ["python3", "-P", "-m"]
    assert not [path for path in tmp_path.rglob("*") if path.name == "owned"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside.json"])
def test_a_link_out_of_a_models_folder_is_refused(materials: Path, tmp_path: Path, target: str) -> None:
    shop = Workshop.make(tmp_path, materials)
    (tmp_path / "outside.json").write_text('{"sentinel": 1}')
    planted = shop.folder / "model" / "generation_config.json"
    planted.unlink()
    planted.symlink_to(target)
    ended = shop.build("chat", check=False)
    assert ended.returncode == 3
    assert ended.stderr.splitlines()[-2:] == [
        "error: generation_config.json of ./model is a link out of its folder, and is not put into an image",
        "hint: put the file itself there",
    ]
    kept = [path for path in shop.cache.rglob("*") if path.is_file() and b"sentinel" in path.read_bytes()]
    assert (shop.names(), kept) == ([], [])
