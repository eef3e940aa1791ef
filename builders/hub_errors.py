"""What the hub's refusals and a failing line or disk mean, in plain words, and which of them deserve a second try."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from infra.errors import ExitCode, UserError
from infra.space import no_space

RETRY_DELAYS_S = (0.5, 1.5)
"""Waits before the second and the third attempt, where the hub does not name one."""
LONGEST_WAIT_S = 30.0
LARGER_DISK: Final = "free some, or set HF_HOME and XDG_CACHE_HOME to a larger disk"
"""What helps where models do not fit."""

T = TypeVar("T")


@contextmanager
def explained(endpoint: str, repository: str, revision: str, folder: Path) -> Iterator[None]:
    """Turn what huggingface_hub raises inside the block into UserError; `folder` is where it writes."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except (errors.HfHubHTTPError, httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, KeyError, TypeError) as e:
        # The library hides why the hub did not answer behind "not in the cache".
        error = e.__cause__ if isinstance(e, errors.LocalEntryNotFoundError) and e.__cause__ else e
        explanation = (
            _explain_answer(error, endpoint, repository, revision)
            or _explain_failure(error, endpoint, repository)
            or _explain_disk(error, folder)
        )
        if explanation is None:
            raise
        raise explanation from None


def _explain_answer(error: BaseException, endpoint: str, repository: str, revision: str) -> UserError | None:
    """The hub answered, and said no."""
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return _problem(
                f"{repository} is gated: only those who accepted its owner's terms may have it",
                f"accept them at {endpoint}/{repository}, then run `hf auth login` or set HF_TOKEN",
            )
        case errors.RevisionNotFoundError():
            return UserError(
                f"{repository} has no revision {revision!r}",
                hint=f"take a branch, tag or commit of {endpoint}/{repository}/commits, or none for the newest",
                exit_code=ExitCode.FILE,
            )
        case errors.DisabledRepoError():
            return _problem(f"{endpoint} has disabled {repository}", "choose another model")
        case errors.RepositoryNotFoundError():
            return _no_such_model(endpoint, repository)
        case errors.RemoteEntryNotFoundError():
            return _problem(f"{repository} lacks a file that it lists", "try again, or choose another `revision`")
        case errors.HfHubHTTPError():
            return _explain_status(error.response.status_code, endpoint, repository)
    return None


def _no_such_model(endpoint: str, repository: str) -> UserError:
    return _problem(
        f"no such model: {repository} does not exist on {endpoint}, or it is private",
        "check the spelling; for a private model run `hf auth login` or set HF_TOKEN",
    )


def _explain_status(status: int, endpoint: str, repository: str) -> UserError:
    if status == 404:  # from a mirror, which does not say what it is that is not found
        return _no_such_model(endpoint, repository)
    if status in (401, 403):
        return _problem(
            f"{endpoint} does not accept the token for {repository}",
            "make a new one with read access; give it to `hf auth login` or set HF_TOKEN",
        )
    if status == 429:
        return _problem(
            f"{endpoint} asks to slow down (429), so {repository} cannot be fetched now",
            "wait some minutes and repeat the command; a token in HF_TOKEN raises the limit",
        )
    return _problem(
        f"{endpoint} answers {status}, so {repository} cannot be fetched now",
        "repeat the command later; what has come so far is kept",
    )


def _explain_failure(error: BaseException, endpoint: str, repository: str) -> UserError | None:
    """Nobody answered, or nobody who speaks like a hub."""
    import httpx2
    from huggingface_hub import errors

    match error:
        case errors.OfflineModeIsEnabled():
            return offline(repository, "HF_HUB_OFFLINE is set")
        case errors.FileMetadataError() | ValueError() | KeyError() | TypeError():
            return _problem(
                f"{repository} cannot be fetched: {endpoint} does not answer as a model hub does",
                "check HF_ENDPOINT, and whether a proxy or a login page stands in between",
            )
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.ProxyError() | httpx2.InvalidURL():
            return _problem(
                f"{repository} cannot be fetched: {endpoint} cannot be reached",
                "check the network and the proxy settings; HF_ENDPOINT names another hub",
            )
        case httpx2.UnsupportedProtocol():
            return _problem(
                f"{repository} cannot be fetched: {endpoint} is not an address of a hub",
                "let HF_ENDPOINT begin with https://, or unset it",
            )
        case httpx2.HTTPError() | ConnectionError() | TimeoutError() | OSError(errno=None):
            return _problem(
                f"{repository} could not be fetched: the connection to {endpoint} broke or stalled",
                "repeat the command; what has come is kept",
            )
    return None


@contextmanager
def disk_explained(folder: Path) -> Iterator[None]:
    """Turn a full disk or missing permissions inside the block into UserError; `folder` is where it writes."""
    try:
        yield
    except OSError as error:
        explanation = _explain_disk(error, folder)
        if explanation is None:
            raise
        raise explanation from None


def _explain_disk(error: BaseException, folder: Path) -> UserError | None:
    match error:
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return no_space(folder, LARGER_DISK)
        case OSError(errno=int(code)):
            hint = "change its permissions, or set HF_HOME and XDG_CACHE_HOME to folders of yours"
            return _problem(f"{folder} cannot be written: {os.strerror(code).lower()}", hint)
    return None


def retried(call: Callable[[], T]) -> T:
    """Repeat what a busy hub or a shaky line made fail, a few times; then the last error comes through."""
    for delay_s in RETRY_DELAYS_S:
        try:
            return call()
        except Exception as error:
            wait_s = _wait_before_retry(error, delay_s)
            if wait_s is None:
                raise
            time.sleep(wait_s)
    return call()


def _wait_before_retry(error: Exception, delay_s: float) -> float | None:
    """Seconds to wait, or None when a repetition cannot help."""
    import httpx2
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        if error.response.status_code not in (408, 429, 500, 502, 503, 504):
            return None
        named = error.response.headers.get("Retry-After", "")
        return min(float(named), LONGEST_WAIT_S) if named.isdecimal() else delay_s
    hopeless = (httpx2.ProxyError, httpx2.UnsupportedProtocol)
    return delay_s if isinstance(error, httpx2.TransportError) and not isinstance(error, hopeless) else None


def offline(repository: str, reason: str) -> UserError:
    """A model that is wanted, is not here, and may not be fetched."""
    return _problem(
        f"{repository} is not in the cache, or only a part of it, and {reason}",
        f"fetch it once with network: `hf download {repository}`, or run the command without that setting",
    )


def wrong_content(repository: str, name: str) -> UserError:
    """What came is not what the hub lists, also the second time."""
    return _problem(
        f"{name} of {repository} came with wrong content twice (its checksum differs); it was thrown away",
        "repeat the command; if it stays so, a proxy or a mirror in between changes the data",
    )


def _problem(message: str, hint: str) -> UserError:
    return UserError(message, hint=hint, exit_code=ExitCode.ENVIRONMENT)
