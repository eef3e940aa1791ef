"""Run by the image's own kind of Python in processes of their own; it imports nothing of ours.

`python -P -s -S bytecode.py list FOLDER SCRATCH SMOKE [FILE]` runs the script SMOKE, with FOLDER to import from and
FILE in its argv, and prints the sources of what was imported, one path within FOLDER a line; their bytecode is in
SCRATCH then. `... write FOLDER SCRATCH PLACE` reads such lines, writes the .pyc of each, as if FOLDER lay at PLACE, and
prints where they are.

How bytes are written depends on what else stands in memory, so each .pyc is written anew by the second process, which
does nothing else.
"""

import marshal
import os
import runpy
import sys
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from types import CodeType

_UNCHECKED_HASH = (1).to_bytes(4, "little")
_HEADER_BYTES = 16


def main(arguments: list[str]) -> None:
    """Carry out one of the two commands."""
    command, folder, scratch, *rest = arguments
    if command == "list":
        _list(folder, scratch, rest)
    else:
        written = [_write(folder, scratch, path, f"{rest[0]}/{path}") for path in sys.stdin.read().split()]
        sys.stdout.write("\n".join(os.path.relpath(path, folder) for path in written))


def _list(folder: str, scratch: str, smoke: list[str]) -> None:
    output, sys.stdout = sys.stdout, sys.stderr
    sys.pycache_prefix = scratch
    sys.path.insert(0, folder)
    sys.argv = smoke
    runpy.run_path(smoke[0], run_name="__main__")
    found = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    inside = {os.path.relpath(path, folder) for path in found if path and path.startswith(folder + os.sep)}
    output.write("\n".join(sorted(path for path in inside if path.endswith(".py"))))


def _write(folder: str, scratch: str, path: str, place: str) -> str:
    source = os.path.join(folder, path)  # noqa: PTH118 - this script is to import as little as it can
    with open(source, "rb") as file:  # noqa: PTH123 - as above
        digest = source_hash(file.read())
    with open(_compiled(source, scratch), "rb") as file:  # noqa: PTH123 - as above
        code = marshal.loads(file.read()[_HEADER_BYTES:])  # noqa: S302 - the first process wrote it
    target = _compiled(source, None)
    os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120 - as above
    with open(target, "wb") as file:  # noqa: PTH123 - as above
        file.write(MAGIC_NUMBER + _UNCHECKED_HASH + digest + marshal.dumps(_placed(code, place)))
    return target


def _compiled(source: str, scratch: str | None) -> str:
    sys.pycache_prefix = scratch
    return cache_from_source(source, optimization="")


def _placed(code: CodeType, place: str) -> CodeType:
    """The same code, as read from the file at `place`."""
    constants = tuple(_placed(value, place) if isinstance(value, CodeType) else value for value in code.co_consts)
    return code.replace(co_filename=place, co_consts=constants)


if __name__ == "__main__":
    main(sys.argv[1:])
