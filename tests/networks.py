"""Networks to break: a door to a broker, which needs nothing, and a cable between two namespaces, which needs root.

In both the test reaches the broker by another way that is never touched, so it sees what arrives and when.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

import pytest


def _works() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("iptables") is None:
        return False
    name = f"ep{uuid.uuid4().hex[:6]}"
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
        return False
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return True


needs_network_namespaces = pytest.mark.skipif(
    not _works(), reason="network namespaces need root, ip and iptables (apt-get install iproute2 iptables)"
)


class Door:
    """A port through which a broker is reached, or not: open, slammed in everybody's face, or leading nowhere."""

    def __init__(self, target_port: int) -> None:
        self.mode: Literal["open", "slam", "swallow"] = "open"
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for pair in self._pairs:
            for end in pair:
                end.close()

    def lead_to(self, port: int) -> None:
        """From now on another broker is behind it; connections through it end."""
        self._target_port = port
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):  # it may have ended long ago
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                outside, _ = self._listener.accept()
            except OSError:
                return  # the test is over
            if self.mode == "slam":
                outside.close()
                continue
            inside = socket.create_connection(("127.0.0.1", self._target_port))
            self._pairs.append((outside, inside))
            for source, sink in ((outside, inside), (inside, outside)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        swallowed = False  # a connection that has lost bytes never works again
        try:
            while data := source.recv(65536):
                swallowed = swallowed or self.mode == "swallow"
                if not swallowed:
                    sink.sendall(data)
        except OSError:
            return  # one end is gone; the other follows below
        finally:
            if not swallowed:
                sink.close()


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Network:
    """A device's namespace and a broker's, joined by a cable, with the test outside.

    `broker_address` is the broker's for the device, `outside_address` the same broker's for us.
    """

    def __init__(self) -> None:
        tag = uuid.uuid4().hex[:5]
        self.device, self.broker = f"epd{tag}", f"epb{tag}"
        self._cable, self._outside = f"epc{tag}", f"epo{tag}"
        third = int(tag[:2], 16)
        self.broker_address = f"10.213.{third}.1"
        self._device_address = f"10.213.{third}.2"
        self.outside_address = f"10.214.{third}.1"
        self._our_address = f"10.214.{third}.2"

    def __enter__(self) -> Self:
        for name in (self.device, self.broker):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", self.broker, "link", "add", self._cable, "type", "veth", "peer", "eth0", "netns", self.device)
        run("ip", "link", "add", self._outside, "type", "veth", "peer", "outside", "netns", self.broker)
        run("ip", "-n", self.broker, "addr", "add", f"{self.broker_address}/24", "dev", self._cable)
        run("ip", "-n", self.device, "addr", "add", f"{self._device_address}/24", "dev", "eth0")
        run("ip", "-n", self.broker, "addr", "add", f"{self.outside_address}/24", "dev", "outside")
        run("ip", "addr", "add", f"{self._our_address}/24", "dev", self._outside)
        for arguments in (["-n", self.broker, "link", "set", "outside"], ["link", "set", self._outside]):
            run("ip", *arguments, "up")
        run("ip", "-n", self.broker, "link", "set", self._cable, "up")
        run("ip", "-n", self.device, "link", "set", "eth0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.device, self.broker):
            subprocess.run(["ip", "netns", "del", name], check=False)

    @contextlib.contextmanager
    def name_server(self) -> Iterator[str]:
        """Have the device ask a name server at the broker's end of the cable; gives the broker's name."""
        resolver = Path("/etc/netns", self.device, "resolv.conf")  # ip netns exec puts it over /etc/resolv.conf
        resolver.parent.mkdir(parents=True)
        resolver.write_text(f"nameserver {self.broker_address}\n")
        program = Path(__file__).with_name("name_server.py")
        command = ["ip", "netns", "exec", self.broker, sys.executable, str(program), self.broker_address]
        with subprocess.Popen(command) as server:
            try:
                yield "broker.test"
            finally:
                server.kill()
                shutil.rmtree(resolver.parent)

    def unplug(self) -> None:
        """Take the cable between device and broker out."""
        run("ip", "-n", self.broker, "link", "set", self._cable, "down")

    def plug(self) -> None:
        """Put the cable back."""
        run("ip", "-n", self.broker, "link", "set", self._cable, "up")

    def swallow(self) -> None:
        """Drop what arrives at either end, without a word to the sender: connections stay open, and are dead."""
        for name, interface in ((self.device, "eth0"), (self.broker, self._cable)):
            run("ip", "netns", "exec", name, "iptables", "-A", "INPUT", "-i", interface, "-j", "DROP")

    def deliver(self) -> None:
        """Let packets through again."""
        for name in (self.device, self.broker):
            run("ip", "netns", "exec", name, "iptables", "-F", "INPUT")
