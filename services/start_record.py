"""How long a task took to load the last time, so that the next start can say how far it is."""

import contextlib
import hashlib
import json
import time
from dataclasses import replace

from services.settings import TaskSettings
from services.wire import Readiness


class StartRecord:
    """Of one start, which begins now. Without a place to keep it, or with other settings, nothing is known."""

    def __init__(self, settings: TaskSettings) -> None:
        self._path = settings.start_record
        self._digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()
        self._began_s = time.monotonic()
        self._expected_s = self._read()

    def judge(self, readiness: Readiness) -> Readiness:
        """The same, with progress and the time left while it loads; no time left once it takes longer than expected."""
        if readiness.stage != "loading" or self._expected_s is None:
            return readiness
        left_s = self._expected_s - (time.monotonic() - self._began_s)
        if left_s <= 0:
            return replace(readiness, progress=0.99)
        progress = round(min(0.99, 1 - left_s / self._expected_s), 2)
        return replace(readiness, progress=progress, seconds_left=round(left_s, 1))

    def keep(self) -> float:
        """Note that the task is ready; returns the seconds that it took."""
        seconds = time.monotonic() - self._began_s
        if self._path is not None:
            with contextlib.suppress(OSError):  # an estimate is not worth a failed start
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path.write_text(json.dumps({"settings": self._digest, "seconds": seconds}), encoding="utf-8")
        return seconds

    def _read(self) -> float | None:
        if self._path is None:
            return None
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            return float(kept["seconds"]) if kept["settings"] == self._digest else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
