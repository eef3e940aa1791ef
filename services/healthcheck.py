"""Asks the service of this container how it is: `python -m services.healthcheck PORT PATH`; exits 0 for a 200.

Run every few seconds beside the service, so it needs little more than a socket.
"""

import socket
import sys

TIMEOUT_S = 15
_LONGEST = 65_536


def main(port: int, path: str) -> int:
    """Prints the answer's body, which says how far a start is; returns the exit status."""
    request = f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
            connection.sendall(request.encode())
            while len(answer) < _LONGEST and (data := connection.recv(_LONGEST)):
                answer += data
    except OSError:
        return 1
    head, _, body = answer.partition(b"\r\n\r\n")
    sys.stdout.write(body.decode(errors="replace"))
    return 0 if head.split(b" ", 2)[1:2] == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
