"""`init`: a starter file that works as it is, and the schema that an editor checks it with.

The modeline names a copy of the schema beside the file, because that needs neither network nor an absolute path that
is true on one machine only. `up` renews the copy, so it fits the version that is in use.
"""

import os
import shlex
from pathlib import Path

from compose.state import FOLDER_NAME
from infra.errors import ExitCode, UserError
from infra.files import not_writable
from infra.folder import RunFolder

FILE_NAMES = ("model-compose.yml", "model-compose.yaml")
SCHEMA_NAME = "schema.json"

STARTER = f"""\
# yaml-language-server: $schema={FOLDER_NAME}/{SCHEMA_NAME}

controller:
  adapter:
    type: http-server
    port: 8080
  webui:
    driver: gradio
    port: 8081

workflow:
  title: Chat
  description: Answers a question.
  output:
    answer: ${{output}}

component:
  type: model
  task: chat-completion
  model: HuggingFaceTB/SmolLM2-135M-Instruct
  action:
    messages:
      - role: system
        content: ${{input.system_prompt | "You are a helpful assistant." @(description "How to behave")}}
      - role: user
        content: ${{input.question @(description "What you want to know")}}
    params:
      max_output_length: 256
"""


def write_starter(folder: Path) -> str:
    """Write the file in `folder`, which is made when it is absent; returns what to do next. Never overwrites one."""
    for name in FILE_NAMES:
        if (folder / name).exists():
            raise UserError(
                f"there is a {name} in {folder} already",
                hint="`model-compose init NAME` writes into a new folder",
                exit_code=ExitCode.ENVIRONMENT,
            )
    path = folder / FILE_NAMES[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_schema(RunFolder(folder / FOLDER_NAME))
        path.write_text(STARTER, encoding="utf-8")
    except OSError as error:
        raise not_writable(path, error) from None
    shown = os.path.relpath(folder)
    enter = "" if shown == "." else f"cd {shlex.quote(shown)} && "
    return f"wrote {os.path.relpath(path)}; next: {enter}model-compose up"


def write_schema(folder: RunFolder) -> None:
    """Put this version's schema where the modeline of a starter file looks for it."""
    from compose.schema import shipped_schema

    folder.make()
    path = folder.root / SCHEMA_NAME
    try:
        path.write_text(shipped_schema(), encoding="utf-8")
    except OSError as error:
        raise not_writable(path, error) from None


def renew_schema(folder: RunFolder) -> None:
    """The same, where an editor uses it already."""
    if (folder.root / SCHEMA_NAME).exists():
        write_schema(folder)
