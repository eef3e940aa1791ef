"""What goes wrong with a Docker engine, each in a sentence of its own and with the next thing to type."""

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator
from typing import Any, Final

from infra.errors import ExitCode, UserError

LEAST_API: Final = (1, 41)
"""Of engine 20.10."""

_REFUSALS: Final = (
    ("no space left on device", "the Docker engine's disk is full", "`docker system df` shows what fills it, and"
     " `docker image prune` removes images that nothing uses"),
    ("could not select device driver", "the Docker engine gives containers no GPU", "install nvidia-container-toolkit"
     " on its machine, or leave `gpu` out of `resources`"),
    ("non-overlapping ipv4 address pool", "the Docker engine has no addresses left for another network",
     "`docker network prune` removes networks that nothing uses"),
    ("port is already allocated", "a port that the file names is taken", "set another port in the file"),
    ("address already in use", "a port that the file names is taken", "set another port in the file"),
    ("is already in use by container", "a container of this name is there that is none of ours", "`docker ps --all`"
     " shows it, and `docker rm` removes it"),
    ("no such image", "an image is gone from the Docker engine", "`model-compose up` brings it back"),
    ("range of cpus is from", "the Docker engine's machine has fewer processors than `resources` ask for",
     "ask for less `cpu`"),
)  # fmt: skip
"""Part of what an engine says, the sentence, and the remedy."""
_PASSING: Final = ("port is already allocated", "address already in use", "is already in use by container")
"""What may be over the next time: somebody else, or an earlier life of the same service, is about to go."""


class EngineError(UserError):
    """Something that the engine cannot do, or the engine itself. transient: whether it may work the next time."""

    def __init__(self, message: str, hint: str, *, transient: bool = False) -> None:
        super().__init__(message, hint=hint, exit_code=ExitCode.ENVIRONMENT)
        self.transient = transient


@contextlib.contextmanager
def asking(address: str, what: str) -> Iterator[None]:
    """Turn what the library raises inside the block into EngineError; `what` is asked of the engine at `address`."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        raise refused(what, str(error.explanation or "")) from None
    except (RequestException, DockerException, OSError) as error:
        raise unreachable(address, error) from None


def unreachable(address: str, error: BaseException) -> EngineError:
    """Why there is nobody to talk to at `address`."""
    code = _errno(error)
    if code in (errno.EACCES, errno.EPERM):
        return EngineError(
            f"you may not use the Docker engine at {address}: permission denied",
            "join its group with `sudo usermod --append --groups docker $USER` and log in again",
        )
    if code == errno.ENOENT and shutil.which("docker") is None:
        return EngineError(
            f"there is no Docker engine: nothing is at {address}",
            "install Docker, or let DOCKER_HOST name an engine",
        )
    if code in (errno.ENOENT, errno.ECONNREFUSED):
        return EngineError(
            f"the Docker engine is not running: nobody answers at {address}",
            "start it with `sudo systemctl start docker` or Docker Desktop",
            transient=True,
        )
    return EngineError(
        f"the Docker engine at {address} cannot be reached",
        "check DOCKER_HOST and the network",
        transient=True,
    )


def too_old(version: str) -> EngineError:
    return EngineError(
        f"the Docker engine is too old: it is {version}, and 20.10 or newer is needed",
        "update Docker",
    )


def no_image(reference: str) -> EngineError:
    return EngineError(f"the image {reference} is not in the Docker engine", "`model-compose build` makes it")


def refused(what: str, explanation: str) -> EngineError:
    """The engine answered that it cannot do `what`, such as "start chat", and said why."""
    said = explanation.lower()
    for part, message, hint in _REFUSALS:
        if part in said:
            return EngineError(f"{message}, so it could not {what}", hint, transient=part in _PASSING)
    reason = re.sub(r"\s+", " ", explanation).strip()[:200]
    return EngineError(f"the Docker engine could not {what}: {reason or 'it does not say why'}", "its log may say more")


def _errno(error: BaseException | None) -> int | None:
    """The system's error number somewhere in a chain of exceptions, as the libraries in between wrap it."""
    seen: list[Any] = [error]
    for current in seen:
        if isinstance(current, OSError) and current.errno is not None:
            return current.errno
        if isinstance(current, BaseException):
            inner = (current.__cause__, current.__context__, *current.args, getattr(current, "reason", None))
            seen += [each for each in inner if isinstance(each, BaseException) and each not in seen]
    return None
