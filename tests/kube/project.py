"""A project of two tasks, its images as a layout, and its export, as the commands make them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.docker.product import TIMEOUT_S

COMMAND = Path(sys.executable).with_name("model-compose")
TOKEN = "token-of-the-router"
TAG = "latest"
# `retry`, because each task has one pod: while it is replaced there is no other one that the router could ask.
FILE = """
controller:
  adapter: {type: http-server, port: 8080}
  auth: {token: "${env.API_TOKEN}"}
  webui: {driver: gradio, port: 8081}
components:
  - id: chat
    type: model
    task: chat-completion
    model: ./models/llama
    action:
      messages: [{role: user, content: "${input.user_prompt}"}]
      params: {max_output_length: 24}
  - {id: labels, type: model, task: text-classification, model: ./models/labels}
workflow:
  title: Answer and judge
  jobs:
    - id: answer
      component: chat
      input: {user_prompt: "${input.user_prompt}"}
      retry: {max_attempt_count: 8, delay: 500ms, backoff: exponential, max_delay: 5s}
    - id: judge
      component: labels
      input: {text: "${jobs.answer.output}"}
      retry: {max_attempt_count: 8, delay: 500ms, backoff: exponential, max_delay: 5s}
  output:
    generated: ${jobs.answer.output}
    label: ${jobs.judge.output.label}
"""


@dataclass(frozen=True)
class Exported:
    """name: of the project, and of its namespace. layout: an OCI layout of the images. tree: the export."""

    name: str
    layout: Path
    tree: Path


def make_exported(folder: Path, base: Path, cache: Path) -> Exported:
    """`build` and `export kubernetes` in a new folder, with layers of earlier builds that `cache` may hold."""
    from tests.encoders import make_encoder
    from tests.models import make_model

    made = Exported(folder.name, folder / "layout", folder / "kubernetes")
    make_model("llama", folder / "models" / "llama")
    make_encoder("distilbert", folder / "models" / "labels", labels=2)
    (folder / "model-compose.yml").write_text(FILE, encoding="utf-8")
    environment = {**os.environ, "API_TOKEN": TOKEN, "MODEL_COMPOSE_CACHE": str(cache), "NO_COLOR": "1"}
    # what these images do is tested by the pods; no engine is needed to build them
    _run(folder, environment, "build", "--base", str(base), "--output", f"oci:{made.layout}", "--no-verify")
    _run(folder, environment, "export", "kubernetes", "--output", str(made.tree), "--tag", TAG)
    return made


def _run(folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
    ended = subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
