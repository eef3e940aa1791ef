"""Ports of loopback for tests and benchmarks."""

import socket


def free_port() -> int:
    """A TCP port of loopback that nobody has right now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
