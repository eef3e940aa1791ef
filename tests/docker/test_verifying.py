"""Images on trial in a real engine: services of a few lines, which look at what they are given."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.images.layout import Image, ImageConfig
from builders.spec import BuildSpec, Built
from builders.verifying import UnsoundImage, verify
from builders.weights import Resolved
from infra.docker.engine import Engine, connect

pytestmark = pytest.mark.docker

SOUND = """
import http.server, json, os, pathlib, socket, sys

def can_write(path):
    try:
        pathlib.Path(path, "probe").write_text("")
    except OSError:
        return False
    return True

status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
seen = {
    "user": os.getuid(),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "no new privileges": status["NoNewPrivs"],
    "writable": [path for path in ("/", "/opt", "/etc", "/var/lib/model-compose", "/tmp") if can_write(path)],
}
print(json.dumps(seen), flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        kind = {"type": "done"} if ANSWERS else {"type": "error", "error": {"message": "The model is broken."}}
        self.wfile.write(json.dumps(kind).encode())
http.server.HTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
"""

EXPECTED = {
    "user": 10001,
    "interfaces": ["lo"],
    "capabilities": 0,
    "no new privileges": "1",
    "writable": ["/var/lib/model-compose", "/tmp"],
}


@pytest.fixture(scope="module")
def client(engine: str) -> Iterator[Engine]:
    connected = connect({"DOCKER_HOST": engine})
    yield connected
    connected.close()


@pytest.fixture
def reference(tmp_path: Path, engine: str) -> Iterator[str]:
    """The name of an image that lasts as long as its test."""
    name = f"model-compose-test/{tmp_path.name.replace('_', '-')}:latest"
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], check=True, capture_output=True, timeout=60)


def _built(reference: str, base_image: str, folder: Path, program: str) -> Built:
    """An image that the engine has, as a build would have made it."""
    entrypoint = ["python3", "-P", "/service.py"]
    (folder / "service.py").write_text(program)
    (folder / "Dockerfile").write_text(f"FROM {base_image}\nCOPY service.py /\nENTRYPOINT {json.dumps(entrypoint)}\n")
    command = ["docker", "build", "--quiet", "--tag", reference, str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    spec = BuildSpec(
        name="task-one",
        repository=reference.partition(":")[0],
        kind="task",
        settings='{"task": "text-classification"}',
        model=Resolved(Path("/models/one"), revision=None, config={}),
    )
    return Built(spec, reference, Image.of(ImageConfig(entrypoint=entrypoint), []), ())


def _containers(reference: str) -> str:
    command = ["docker", "ps", "--all", "--quiet", "--filter", f"ancestor={reference}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_sound_image_passes_with_nothing_but_itself(
    client: Engine, reference: str, base_image: str, tmp_path: Path
) -> None:
    checked = SOUND.replace("ANSWERS", f"seen == {EXPECTED}")
    verdict = verify(client, _built(reference, base_image, tmp_path, checked), reference)
    assert verdict.untried is None
    assert verdict.ready_s is not None
    assert 0 < verdict.ready_s < 30
    assert _containers(reference) == ""


def test_an_image_that_fails_its_request_is_refused_with_what_it_printed(
    client: Engine, reference: str, base_image: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsoundImage) as caught:
        verify(client, _built(reference, base_image, tmp_path, SOUND.replace("ANSWERS", "False")), reference)
    assert caught.value.message == (
        "the image of task-one does not work: it did not finish its answer: The model is broken."
    )
    assert [json.loads(line) for line in caught.value.lines if line.startswith("{")] == [EXPECTED]
    assert _containers(reference) == ""


def test_an_image_whose_service_cannot_start_is_refused_with_its_last_lines(
    client: Engine, reference: str, base_image: str, tmp_path: Path
) -> None:
    program = "import sys\nfor number in range(30): print('line', number)\nsys.exit('no model here')\n"
    with pytest.raises(UnsoundImage) as caught:
        verify(client, _built(reference, base_image, tmp_path, program), reference)
    assert caught.value.message == "the image of task-one does not work: it ended with exit status 1"
    assert "no model here" in caught.value.lines
    assert len(caught.value.lines) == 20
    assert _containers(reference) == ""
