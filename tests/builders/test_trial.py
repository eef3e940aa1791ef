"""The program of a container on trial, with small services in place of an image's own."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builders import trial
from tests.net import free_port

pytestmark = pytest.mark.server

SERVICE = """
import http.server, json, sys
print("starting", file=sys.stderr, flush=True)
asked = []
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())
    def do_GET(self):
        asked.append(self.path)
        self.answer(200 if len(asked) > 2 else 503, "{}")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        {post}
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def _trial(program: str, **changes: Any) -> dict[str, Any]:
    port = free_port()
    asked = {"method": "POST", "path": "/predict", "body": "question", "headers": {"Content-Type": "text/plain"}}
    command = [sys.executable, "-c", program, str(port)]
    return {"command": command, "port": port, "ready_s": 30, "answer_s": 30, **asked, **changes}


def _service(post: str) -> str:
    return SERVICE.replace("{post}", post)


def test_it_waits_until_the_service_is_ready_and_tells_how_its_answer_ended() -> None:
    lines = "'{\"type\": \"delta\"}\\n' + json.dumps({'type': 'done', 'result': body}) + '\\n'"
    said = trial.main(_trial(_service(f"self.answer(200, {lines})")))
    assert 0 < said.pop("ready_s") < 30
    assert said == {"status": 200, "type": "done"}


def test_it_passes_a_refusal_on() -> None:
    said = trial.main(_trial(_service("self.answer(500, json.dumps({'error': {'message': 'It failed.'}}))")))
    del said["ready_s"]
    assert said == {"status": 500, "error": {"message": "It failed."}}


def test_an_answer_that_is_no_json_is_told_by_its_status() -> None:
    said = trial.main(_trial(_service("self.answer(200, '<html>')")))
    del said["ready_s"]
    assert said == {"status": 200}


@pytest.mark.parametrize(
    ("program", "changes", "problem"),
    [
        ("raise SystemExit(78)", {}, "ended with exit status 78"),
        ("import os; os.kill(os.getpid(), 9)", {}, "was ended by signal 9"),
        ("import time; time.sleep(600)", {"ready_s": 0.3}, "did not become ready in time"),
        (_service("import time; time.sleep(600)"), {"answer_s": 0.3}, "did not answer within 0.3 s"),
        (_service("import os; os._exit(1)"), {}, "broke off while it answered"),
    ],
    ids=["ends", "is killed", "hangs while it starts", "hangs while it answers", "crashes while it answers"],
)
def test_it_says_what_went_wrong(program: str, changes: dict[str, Any], problem: str) -> None:
    assert trial.main(_trial(program, **changes)) == {"problem": problem}


def test_it_leaves_no_service_behind() -> None:
    asked = _trial(_service("self.answer(200, '{}')"))
    trial.main(asked)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", asked["port"]))


def test_its_text_is_a_whole_program_for_any_python() -> None:
    command = [sys.executable, "-I", "-S", "-c", Path(trial.__file__).read_text(), "{}"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.stderr.strip().endswith("KeyError: 'command'")
