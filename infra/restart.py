"""When a service that ended, or could not be started, is started again, and when that is given up."""

from collections import deque
from dataclasses import dataclass, field

CRASH_LIMIT = 5
CRASH_WINDOW_S = 60.0
FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 4.0
PATIENCE_S = 120.0
"""With what keeps a service from being started, and may pass: an engine that is away, a port that somebody else has."""


@dataclass(slots=True)
class RestartPolicy:
    """Times are seconds of a monotonic clock."""

    _crashes: deque[float] = field(default_factory=deque)
    _never_ready: int = 0
    _refusals: list[float] = field(default_factory=list)

    def after_crash(self, now: float, *, was_ready: bool) -> float | None:
        """How many seconds to wait before the next start; None: it is hopeless.

        Hopeless are five crashes in a minute, and five in a row that never came to work, however long each took.
        """
        self._refusals.clear()
        self._crashes.append(now)
        while now - self._crashes[0] > CRASH_WINDOW_S:
            self._crashes.popleft()
        self._never_ready = 0 if was_ready else self._never_ready + 1
        recent = max(len(self._crashes), self._never_ready)
        return None if recent >= CRASH_LIMIT else FIRST_DELAY_S * 2 ** (recent - 1)

    def after_refusal(self, now: float) -> float | None:
        """The same where it could not be started at all; hopeless is what lasts."""
        self._refusals.append(now)
        if now - self._refusals[0] > PATIENCE_S:
            return None
        return min(FIRST_DELAY_S * 2.0 ** (len(self._refusals) - 1), LONGEST_DELAY_S)
