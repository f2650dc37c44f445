"""Real brokers for tests: mosquitto on a free port, started, stopped and broken as a test wants."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from edge.config import MqttSettings

# Debian puts daemons where a user's PATH does not look.
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (scripts/test installs it)")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def eventually(condition: Callable[[], object], timeout_s: float = 10.0) -> bool:
    """Whether a condition comes true in time; generous, because the machine may be busy."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


class Mosquitto:
    """A mosquitto in a directory of its own. It keeps nothing over a restart, as after a power cut."""

    def __init__(self, directory: Path, *options: str, listener: str = "", address: str = "127.0.0.1") -> None:
        self.directory = directory
        self.host = address
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        lines = [f"listener {self.port} {address}", listener, "persistence false", "log_type all", *options]
        if not any(option.startswith(("allow_anonymous", "password_file")) for option in options):
            lines.append("allow_anonymous true")
        if not any(option.startswith("user ") for option in options):
            lines.append("user root")  # reads files that a test has written for itself
        self.config = directory / "mosquitto.conf"
        self.config.write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        return f"mqtt://{self.host}:{self.port}"

    def settings(self, **values: object) -> MqttSettings:
        return MqttSettings(**{"broker": self.url, "device_name": "kitchen", "keepalive": 2, **values})  # type: ignore[arg-type]

    def start(self, *prefix: str) -> Self:
        assert MOSQUITTO is not None
        with (self.directory / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen([*prefix, MOSQUITTO, "-c", self.config], stdout=log, stderr=log)
        if not prefix:
            assert eventually(self.listens), self.log()
        return self

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def log(self) -> str:
        return (self.directory / "mosquitto.log").read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def reload(self) -> None:
        """Read passwords, access list and certificates anew."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def restart(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.stop(number)
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)
