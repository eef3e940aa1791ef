"""The child that turns pickled weights into safetensors; a script of its own, so that it starts with nothing of ours.

    python -I unpickle.py OUTPUT_FOLDER INPUT...

Each INPUT becomes `model.safetensors` or `model-00001-of-0000N.safetensors` in OUTPUT_FOLDER, and a JSON line on
standard output: `{"shard": file, "tensors": {name: bytes}}`. `{"refused": reason}` and exit status 1 end it early; the
reason is `unsafe` (the safe unpickler met something that is not plain tensors), `broken` or `empty`.

What holds it back, strongest first:

- `torch.load(weights_only=True)` builds tensors and containers only; it calls nothing that the pickle names.
- The environment is empty, so there is no token to find; the interpreter is isolated (`-I`).
- `watch`, an audit hook that stays for good: Python code that opens a socket, starts a program, loads a library, uses
  the ordinary unpickler, or writes, renames or removes any file ends the process. The safetensors files are written by
  safetensors' own native code.
- Limits of the kernel: no core dumps, no file longer than the weights can be, few descriptors.

The audit hook guards Python code only. Native code that a flaw in torch let run would have the user's rights; holding
that too takes a container or another account.
"""

import json
import os
import pickle
import resource
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

_FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.kill",
    "os.putenv",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.chflags",
    "os.utime",
    "os.setxattr",
    "pty.",
    "shutil.",
    "tempfile.",
    "ctypes.",
    "urllib.",
    "http.",
    "ftplib.",
    "smtplib.",
    "webbrowser.",
    "pickle.find_class",
    "signal.",
    "sys.settrace",
    "sys.setprofile",
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ForbiddenError(BaseException):
    """Python code tried what converting weights has no need of; not an Exception, so that nothing swallows it."""


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook: raises ForbiddenError for everything but reading and computing."""
    if event.startswith(_FORBIDDEN):
        raise ForbiddenError(event)
    if event == "open" and len(arguments) == 3:
        _, mode, flags = arguments
        # A mode of None comes from os.open, where the flags tell; opening by mode sets the flags too.
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & _WRITES):
            raise ForbiddenError("writing a file")


def main(output: Path, inputs: list[Path]) -> int:
    """Convert; see the module for what is printed. Returns the exit status."""
    total_bytes = sum(path.stat().st_size for path in inputs)
    _limit(2 * total_bytes + (64 << 20))
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import safetensors.torch
    import torch

    torch.set_num_threads(1)
    sys.addaudithook(watch)
    for number, path in enumerate(inputs, start=1):
        name = "model.safetensors" if len(inputs) == 1 else f"model-{number:05}-of-{len(inputs):05}.safetensors"
        try:
            # Only the zip format, torch's own since 1.6, can be mapped instead of read.
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except (ForbiddenError, pickle.UnpicklingError):
            return _answer(1, refused="unsafe")
        except Exception:  # noqa: BLE001 - damaged pickles fail in every way there is
            return _answer(1, refused="broken")
        # Safetensors holds no two names for one memory. Copies are the one answer that is right for every model:
        # transformers ties what the configuration says is tied, after it saw that the two are equal.
        tensors = {
            key: tensor.detach().clone(memory_format=torch.contiguous_format)
            for key, tensor in (loaded.items() if isinstance(loaded, dict) else ())
            if isinstance(key, str) and isinstance(tensor, torch.Tensor)
        }
        if not tensors:
            return _answer(1, refused="empty")
        safetensors.torch.save_file(tensors, output / name, metadata={"format": "pt"})
        _answer(0, shard=name, tensors={key: tensor.nbytes for key, tensor in tensors.items()})
        del loaded, tensors  # before the next shard comes into memory
    return 0


def _answer(status: int, **line: Any) -> int:
    print(json.dumps(line), flush=True)  # noqa: T201 - the protocol
    return status


def _limit(file_bytes: int) -> None:
    for kind, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, file_bytes), (resource.RLIMIT_NOFILE, 256)):
        _, hard = resource.getrlimit(kind)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (limit, limit))


def _end_with_parent() -> None:
    """The parent holds the other end of standard input; when it is gone, nobody wants the result."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    # Everything is written and printed by then, and torch takes a second to take itself down.
    os._exit(main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]]))
