"""A task's Bento is BentoML's own, whole, the same wherever it is built, and holds nothing that lay about."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.bento import BentoInputs, make_bento
from builders.code import Code, code_for
from infra.errors import UserError
from services.settings import TaskSettings

pytestmark = pytest.mark.server


def inputs(code: Code | None = None, **changes: Any) -> BentoInputs:
    settings = {"id": "chat", "task": "chat-completion", "model": "tiny/one", "model_path": "/models/abc", **changes}
    return BentoInputs(
        TaskSettings.model_validate(settings), code or code_for("task"), ("bentoml==1.4.39", "torch>=2.10"), "3.11"
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bento") / "made"
    make_bento(inputs(), target)
    return target


def test_it_holds_our_code_its_settings_and_what_bentoml_says_of_it(bento: Path) -> None:
    others = {
        "README.md",
        "apis/openapi.yaml",
        "apis/schema.json",
        "bento.yaml",
        "env/docker/Dockerfile",
        "env/docker/entrypoint.sh",
        "env/python/requirements.in",
        "env/python/requirements.txt",
        "src/bentofile.yaml",
        "src/service.py",
        "src/task.json",
    }
    assert set(contents(bento)) == others | {f"src/{name}" for name in code_for("task").files}
    assert json.loads((bento / "src" / "task.json").read_text()) == {
        "id": "chat",
        "task": "chat-completion",
        "model": "tiny/one",
        "model_path": "/models/abc",
    }


def test_it_is_named_after_the_task_and_what_it_is_made_of(bento: Path) -> None:
    described = yaml.safe_load((bento / "bento.yaml").read_text())
    assert (described["name"], described["version"]) == ("task-chat", inputs().version)
    assert described["creation_time"] == "1970-01-01T00:00:00+00:00"
    assert described["image"]["python_requirements"].splitlines()[:2] == ["bentoml==1.4.39", "torch>=2.10"]
    assert inputs().version != inputs(device="cpu").version


def test_a_second_build_elsewhere_gives_the_same_bytes(bento: Path, tmp_path: Path) -> None:
    make_bento(inputs(), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(bento)


PAYLOADS = (
    'x"\nRUN touch /tmp/owned\n"',
    "x && touch owned",
    "$(touch owned)",
    "`touch owned`",
    "{{ ''.__class__.__mro__ }}",
    "'; import os; os.system('touch owned'); '",
    "!!python/object/apply:os.system ['touch owned']",
    "../../../etc/passwd",
)
"""Of the kinds that were published against the files that BentoML generates."""


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_payload_reaches_a_name(payload: str) -> None:
    assert re.fullmatch(r"task-[a-z0-9-]{1,45}", inputs(id=payload).name)


def test_payloads_in_what_a_user_names_are_plain_text(tmp_path: Path) -> None:
    """They reach task.json as strings; the files that BentoML generates, and its process, have nothing of them."""
    given = inputs(id=PAYLOADS[0], model=PAYLOADS[1], chat_template=PAYLOADS[2], labels=PAYLOADS)
    make_bento(given, tmp_path / "made")
    made = contents(tmp_path / "made")
    settings = json.loads(made.pop("src/task.json"))
    assert (settings["id"], settings["model"], settings["chat_template"]) == PAYLOADS[:3]
    assert tuple(settings["labels"]) == PAYLOADS
    assert not [name for name, content in made.items() for payload in PAYLOADS if payload.encode() in content]
    assert not [name for name, content in made.items() if b"touch " in content]
    assert not [*tmp_path.rglob("owned"), *Path().glob("owned"), *Path("/tmp").glob("owned")]


def test_what_lies_beside_our_code_stays_where_it_is(tmp_path: Path) -> None:
    for name, content in code_for("task").files.items():
        (tmp_path / "ours" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ours" / name).write_bytes(content)
    services = tmp_path / "ours" / "services"
    (tmp_path / "loot.py").write_text("loot")
    (services / "linked.py").symlink_to(tmp_path / "loot.py")
    (services / "folder").symlink_to(tmp_path)
    (services / ".env").write_text("HF_TOKEN=hf_secret")
    (services / ".git").mkdir()
    (services / ".git" / "config.py").write_text("loot")
    (services / "id_rsa").write_text("loot")
    (services / "server.pem").write_text("loot")
    (services / "__pycache__").mkdir()
    (services / "__pycache__" / "entry.cpython-311.pyc").write_bytes(b"loot")
    found = code_for("task", tmp_path / "ours")
    assert list(found.files) == list(code_for("task").files)
    assert found.digest == code_for("task").digest


HANGS = """
import sys, time

with open({fifo!r}, "w") as fifo:
    fifo.write("begun")
    fifo.flush()
    time.sleep(600)
"""
MAKES = """
import sys
from pathlib import Path
from builders import bento, bento_child
from tests.builders.test_bento import inputs

bento_child.__file__ = sys.argv[1]
bento.make_bento(inputs(), Path(sys.argv[2]))
"""


def hanging(folder: Path) -> tuple[Path, Path]:
    """A stand-in for the process that builds, and a pipe that it holds open as long as it lives."""
    fifo, script = folder / "fifo", folder / "hangs.py"
    os.mkfifo(fifo)
    script.write_text(HANGS.format(fifo=str(fifo)))
    return fifo, script


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell no child of its parent's death")
def test_its_process_ends_with_us(tmp_path: Path) -> None:
    fifo, script = hanging(tmp_path)
    with (
        subprocess.Popen([sys.executable, "-c", MAKES, script, tmp_path / "made"]) as parent,
        fifo.open() as held,
    ):
        assert held.read(5) == "begun"
        parent.kill()
        assert held.read() == ""


def test_a_disk_that_fills_meanwhile_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "child.py"
    script.write_text("raise OSError(28, 'No space left on device')")
    monkeypatch.setattr("builders.bento_child.__file__", str(script))
    with pytest.raises(OSError, match="No space left") as caught:
        make_bento(inputs(), tmp_path / "made" / "bento")
    assert caught.value.errno == errno.ENOSPC
    assert list((tmp_path / "made").iterdir()) == []


def test_a_build_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, script = hanging(tmp_path)
    monkeypatch.setattr("builders.bento_child.__file__", str(script))
    monkeypatch.setattr("builders.bento._MOST_S", 0.1)
    with pytest.raises(UserError, match=r"^BentoML's build of task-chat took more than 0\.1 s and was ended$"):
        make_bento(inputs(), tmp_path / "made" / "bento")
    assert list((tmp_path / "made").iterdir()) == []
