"""Threads that move the blobs of one repository side by side, each over a connection of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from builders.images.blobs import Advance
from builders.images.repository import CHUNK_BYTES, Registry, Repository
from infra.errors import ExitCode, UserError

_WORKERS = 4
_PATIENCE_S = 1.0
"""How long threads whose work is in vain may take to leave nothing behind; one may wait for an answer for minutes."""

T = TypeVar("T")
Work = Callable[[Repository, threading.Event], T]
"""What a thread does with its connection; the event says that it is in vain."""


class Crew:
    """Threads that work on one repository, each over a connection of its own; the first failure ends all of them."""

    def __init__(self, registry: Registry, repository: str) -> None:
        self._stopped = threading.Event()
        self._tasks: SimpleQueue[Callable[[Repository], None] | None] = SimpleQueue()
        clients = [registry.repository(repository) for _ in range(_WORKERS)]
        # Daemons, because the process may end before the answer comes that one of them waits for.
        self._threads = [threading.Thread(target=self._serve, args=(client,), daemon=True) for client in clients]

    def submit(self, work: Work[T]) -> Future[T]:
        future: Future[T] = Future()

        def do(client: Repository) -> None:
            try:
                future.set_result(work(client, self._stopped))
            except BaseException as error:  # noqa: BLE001  # whoever asks for the result gets it
                future.set_exception(error)

        self._tasks.put(do)
        return future

    def _serve(self, client: Repository) -> None:
        while (do := self._tasks.get()) is not None and not self._stopped.is_set():
            do(client)
        client.close()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stopped.set()
        for _ in self._threads:
            self._tasks.put(None)
        patient_until = time.monotonic() + _PATIENCE_S
        for thread in self._threads:
            thread.join(None if kind is None else max(0.0, patient_until - time.monotonic()))


class StoppedError(Exception):
    """Another transfer has failed, so this one is in vain."""


class BlobBody:
    """A `Body`: a blob on its way, opened anew each time it is sent, and never whole in memory."""

    def __init__(self, opened: Callable[[], BinaryIO], size: int, advance: Advance, stopped: threading.Event) -> None:
        self._opened = opened
        self._size = size
        self._advance = advance
        self._stopped = stopped
        self._counted = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        self._count_up_to(0)
        try:
            with self._opened() as blob:
                while chunk := blob.read(CHUNK_BYTES):
                    if self._stopped.is_set():
                        raise StoppedError
                    yield chunk
                    self._count_up_to(self._counted + len(chunk))
        except OSError:
            raise _lost() from None
        if self._counted != self._size:  # the registry would wait for the rest
            raise _lost()

    def count_all(self) -> None:
        """All of it is there, whether or not it was sent."""
        self._count_up_to(self._size)

    def _count_up_to(self, total: int) -> None:
        self._advance(total - self._counted)
        self._counted = total


def _lost() -> UserError:
    return UserError(
        "a layer is no longer in the cache as it was built",
        hint="make the image again with `model-compose build`",
        exit_code=ExitCode.ENVIRONMENT,
    )
