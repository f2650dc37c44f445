"""What a process may do where it runs: a line for each thing tried, `allowed` or `refused`, and the system's reason."""

import os
import socket
from collections.abc import Callable


def attempt(name: str, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        print(f"{name} refused {error.strerror}")
    else:
        print(f"{name} allowed")


def write(path: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 -- as plain as it gets
        file.write("x")


def main() -> None:
    attempt("write-opt", lambda: write("/opt/edge-pose/probe"))
    attempt("write-etc", lambda: write("/etc/probe"))
    attempt("write-var", lambda: write("/var/spool/edge-probe/probe"))
    attempt("write-run", lambda: write(f"{os.environ.get('RUNTIME_DIRECTORY', '/run')}/probe"))
    attempt("read-home", lambda: os.listdir("/home"))  # noqa: PTH208
    attempt("device-null", lambda: os.close(os.open("/dev/null", os.O_RDWR)))
    attempt("device-tun", lambda: os.close(os.open("/dev/net/tun", os.O_RDWR)))
    attempt("socket-inet", lambda: socket.socket(socket.AF_INET).close())
    for family in ("ALG", "VSOCK", "BLUETOOTH"):
        number = getattr(socket, f"AF_{family}")
        attempt(f"socket-{family.lower()}", lambda number=number: socket.socket(number, socket.SOCK_SEQPACKET).close())
    attempt("socket-packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())
    attempt("privileges", lambda: os.setuid(0))


main()
