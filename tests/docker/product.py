"""A project with a task of each kind of network, whose images are built once for all tests that look at them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(sys.executable).with_name("model-compose")
TIMEOUT_S = 600

FILE = """
controller:
  adapter: {type: http-server, port: 8080}
  auth: {token: "${env.API_TOKEN}"}
  webui: {driver: gradio, port: 8081}
components:
  - {id: chat, type: model, task: chat-completion, model: ./models/llama}
  - {id: writer, type: model, task: text-generation, model: ./models/llama}
  - {id: summaries, type: model, task: summarization, model: ./models/t5}
  - {id: labels, type: model, task: text-classification, model: ./models/labels}
  - {id: vectors, type: model, task: text-embedding, model: ./models/vectors}
workflows:
  - {id: chat, jobs: [{id: answer, component: chat}]}
  - {id: labels, jobs: [{id: label, component: labels}]}
"""
SERVICES = ("task-chat", "task-writer", "task-summaries", "task-labels", "task-vectors", "router", "page")


@dataclass(frozen=True)
class Product:
    """The project's folder, the environment of its commands, and what its first build printed."""

    folder: Path
    environment: dict[str, str]
    said: str

    def reference(self, service: str) -> str:
        return f"{self.folder.name}/{service}:latest"

    def digests(self, said: str) -> dict[str, str]:
        """What a build's table says: the digest of each image, by its name without the tag."""
        return dict(re.findall(r"^(\S+):\S+ .*(sha256:[0-9a-f]{64})$", said, re.MULTILINE))


def make_product(folder: Path, base: Path, cache: Path, engine: str) -> Product:
    """Write the project and build its images into the engine, unless another process of this session has.

    `cache` may hold layers of earlier builds.
    """
    from tests.encoders import make_encoder, make_sentence_layout
    from tests.models import make_model
    from tests.rewriters import make_rewriter

    environment = {
        **os.environ,
        "API_TOKEN": "token-of-the-router",
        "DOCKER_HOST": engine,
        "MODEL_COMPOSE_BASE": str(base),
        "MODEL_COMPOSE_CACHE": str(cache),
        "NO_COLOR": "1",
    }
    said = folder / "said.txt"
    if said.exists():
        return Product(folder, environment, said.read_text(encoding="utf-8"))
    make_model("llama", folder / "models" / "llama")
    make_rewriter("t5", folder / "models" / "t5")
    make_encoder("distilbert", folder / "models" / "labels", labels=2)
    make_sentence_layout(make_encoder("bert", folder / "models" / "vectors"))
    (folder / "model-compose.yml").write_text(FILE, encoding="utf-8")
    shutil.rmtree(cache / "images" / "proven", ignore_errors=True)  # so that every image is tried
    said.write_text(build(folder, environment), encoding="utf-8")
    return Product(folder, environment, said.read_text(encoding="utf-8"))


def build(folder: Path, environment: Mapping[str, str], *options: str) -> str:
    """What the command prints, on both of its streams."""
    command = [str(COMMAND), "build", "--base", environment["MODEL_COMPOSE_BASE"], "--output", "docker", *options]
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout
