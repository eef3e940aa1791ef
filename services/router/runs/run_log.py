"""The line that the log has for each run: who, how it ended, how long it took; never what was asked or answered."""

import logging
from typing import Any

from services.router.messages import Run
from services.router.watching import tracing

log = logging.getLogger(__name__)


def log_ended(run: Run, duration_s: float) -> None:
    """Write it; a run that failed inside (status 500 and above) is a warning."""
    failed_inside = run.error is not None and run.error_status >= 500
    level = logging.WARNING if failed_inside else logging.INFO
    if log.isEnabledFor(level):
        log.log(level, "run ended", extra={"fields": _fields(run, duration_s)})


def _fields(run: Run, duration_s: float) -> dict[str, Any]:
    parts = {
        "run_id": run.task_id,
        "request_id": run.request_id,
        "trace_id": tracing.trace_id(),
        "workflow": run.workflow_id,
        "status": str(run.status),
        "code": run.error["code"] if run.error is not None else None,
        "duration_s": round(duration_s, 4),
        "prompt_tokens": run.usage.get("prompt_tokens"),
        "completion_tokens": run.usage.get("completion_tokens"),
    }
    return {key: value for key, value in parts.items() if value is not None}
