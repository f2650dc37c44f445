"""A network to break: a device's namespace and a broker's, joined by a cable, with the test outside.

The test reaches the broker over a second cable that is never touched, so it sees what arrives and when.
"""

import os
import shutil
import subprocess
import uuid
from typing import Self

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


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Network:
    """See the module. `broker_address` is the broker's for the device, `outside_address` the same broker's for us."""

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
