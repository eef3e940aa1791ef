"""Asks the service of this container how it is: `python -m services.healthcheck PORT PATH`; exits 0 for a 200.

With a number of SECONDS behind it, it asks again for so long. Run every few seconds beside the service, so it needs
little more than a socket.
"""

import socket
import sys
import time

TIMEOUT_S = 5
_INTERVAL_S = 0.1
_LONGEST = 65_536


def main(port: int, path: str, patience_s: float = 0) -> int:
    """Prints the last answer's body, which says how far a start is, and nothing without one; the exit status."""
    deadline = time.monotonic() + patience_s
    status, body = _ask(port, path)
    while status != b"200" and time.monotonic() < deadline:
        time.sleep(_INTERVAL_S)
        status, body = _ask(port, path)
    sys.stdout.write(body.decode(errors="replace"))
    return 0 if status == b"200" else 1


def _ask(port: int, path: str) -> tuple[bytes, bytes]:
    request = f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
            connection.sendall(request.encode())
            while len(answer) < _LONGEST and (data := connection.recv(_LONGEST)):
                answer += data
    except OSError:
        return b"", b""
    head, _, body = answer.partition(b"\r\n\r\n")
    return b"".join(head.split(b" ", 2)[1:2]), body


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], *map(float, sys.argv[3:])))
