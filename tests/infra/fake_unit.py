"""A service without a model, whose settings say how it misbehaves."""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

time.sleep(float(os.environ.get("FAKE_IMPORT_S", "0")))  # what a heavy library takes, before anything of ours runs

from services.process import open_socket, start  # noqa: E402 - it is what comes late

READY_PATH = "/readyz"

STUBBORN = """
import os, pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
signal.pause()
"""


def main() -> None:
    """Knobs: print, flood_bytes, exit, kill, crash_marker, crash_count, unready, ignore_term, child, answers."""
    arguments = start()
    knobs: dict[str, Any] = json.loads(arguments.settings.read_text())
    for line in knobs.get("print", []):
        os.write(1, f"{line}\n".encode())
    if "flood_bytes" in knobs:
        os.write(1, b"x" * knobs["flood_bytes"] + b"\n")
    if knobs.get("ignore_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "exit" in knobs:
        sys.exit(knobs["exit"])
    if "kill" in knobs:
        os.kill(os.getpid(), knobs["kill"])
    if "child" in knobs:
        subprocess.Popen([sys.executable, "-c", STUBBORN, knobs["child"]])
    listener = open_socket(arguments)
    serve(listener, knobs)


def serve(listener: Any, knobs: dict[str, Any]) -> None:
    """Answers /readyz and what the knobs say.

    GET /crash ends the process, /eat takes a gigabyte, /toil starts twenty more that compute; /pid, /cwd, /environment
    tell about it.
    """
    unready = list(knobs.get("unready", []))
    eaten = bytearray()
    children: list[subprocess.Popen[bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/crash":
                os._exit(3)
            if self.path == "/eat":
                eaten.extend(bytes(2**30))
            if self.path == "/toil":
                children.extend(subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(20))
            answers = {
                **knobs.get("answers", {}),
                "/environment": dict(os.environ),
                "/cwd": [path.name for path in Path.cwd().iterdir()],
                "/pid": os.getpid(),
            }
            if self.path == READY_PATH and unready:
                return self.answer(503, unready.pop(0))
            return self.answer(200, answers.get(self.path, {}))

        def answer(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def address_string(self) -> str:
            return "client"

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever()


if __name__ == "__main__":
    main()
