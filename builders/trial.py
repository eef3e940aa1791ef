"""The program of a container on trial: starts the image's own command, waits until it is ready, asks it one request.

`python3 -P -c TEXT_OF_THIS_FILE TRIAL` with the standard library only, because it runs in any image. TRIAL is JSON:
`command` (a list), `port`, `method`, `path`, `body` (text or null), `headers`, `ready_s` and `answer_s`. What the
command prints goes through. The last line is JSON under MARK: `{"problem": ...}`, or `{"ready_s": ..., "status": ...}`
with `type` and `error` of the answer's last line, where it has them. It ends in any case, so that no container lives
much longer than a build that was killed.
"""

import http.client
import json
import subprocess
import sys
import time
from typing import Any

MARK = "model-compose-trial"
_POLL_S = 0.1
_PROBE_S = 5.0
_STOP_S = 10.0


def main(trial: dict[str, Any]) -> dict[str, Any]:
    """Carry it out."""
    started = time.monotonic()
    with subprocess.Popen(trial["command"], stdout=sys.stderr) as service:  # noqa: S603 - the image's own
        try:
            problem = _wait(service, trial["port"], started + trial["ready_s"])
            if problem:
                return {"problem": problem}
            ready_s = time.monotonic() - started
            try:
                status, body = _ask(trial, trial["answer_s"])
            except TimeoutError:
                return {"problem": f"did not answer within {trial['answer_s']:g} s"}
            except (OSError, http.client.HTTPException):
                return {"problem": "broke off while it answered"}
            return {"ready_s": round(ready_s, 2), "status": status, **_last(body)}
        finally:
            service.terminate()
            try:
                service.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                service.kill()


def _wait(service: "subprocess.Popen[bytes]", port: int, until: float) -> str | None:
    """Return when /readyz answers 200, or why it will not."""
    probe = {"port": port, "method": "GET", "path": "/readyz", "body": None, "headers": {}}
    while time.monotonic() < until:
        status = service.poll()
        if status is not None:
            return f"ended with exit status {status}" if status >= 0 else f"was ended by signal {-status}"
        try:
            if _ask(probe, _PROBE_S)[0] == 200:
                return None
        except (OSError, http.client.HTTPException):
            pass  # it does not listen yet
        time.sleep(_POLL_S)
    return "did not become ready in time"


def _last(body: str) -> dict[str, Any]:
    try:
        value = json.loads(body.strip().rpartition("\n")[2])
    except ValueError:
        return {}
    known = value if isinstance(value, dict) else {}
    return {name: known[name] for name in ("type", "error") if name in known}


def _ask(request: dict[str, Any], timeout_s: float) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", request["port"], timeout=timeout_s)
    try:
        body = None if request["body"] is None else request["body"].encode()
        connection.request(request["method"], request["path"], body, request["headers"])
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


if __name__ == "__main__":
    _said = main(json.loads(sys.argv[1]))
    print("\n" + json.dumps({MARK: _said}), flush=True)  # noqa: T201 - that is what it is for
