"""The journal of one durable run, kept in the store."""

import asyncio
from collections.abc import Mapping
from typing import Any

from services.router.journal import JobKey
from services.router.store.database import StoreUnavailable
from services.router.store.run_store import RunStore

_RETRY_S = 1.0


class StoredJournal:
    """Pieces are kept in the order in which they are noted: one batch at a time, and none is passed over.

    noted: what earlier attempts have finished.
    """

    def __init__(self, store: RunStore, task_id: str) -> None:
        self.noted: Mapping[JobKey, Mapping[str, Any]] = {}
        self._store = store
        self._task_id = task_id
        self._unsaved: list[tuple[JobKey, Mapping[str, Any]]] = []
        self._saving: asyncio.Task[None] | None = None

    def find(self, key: JobKey) -> Mapping[str, Any] | None:
        return self.noted.get(key)

    def note(self, key: JobKey, record: Mapping[str, Any]) -> None:
        self._unsaved.append((key, record))
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save())

    async def flush(self) -> None:
        """Wait until everything is kept, as long as the store can be used."""
        if self._saving is not None:
            await asyncio.wait([self._saving], timeout=_RETRY_S)
        self.close()

    def close(self) -> None:
        """Keep no more: the run has ended, or goes on elsewhere."""
        if self._saving is not None:
            self._saving.cancel()

    async def _save(self) -> None:
        while self._unsaved:
            records = self._unsaved[:]
            try:
                await self._store.note(self._task_id, records)
            except StoreUnavailable:
                await asyncio.sleep(_RETRY_S)
            else:
                del self._unsaved[: len(records)]
