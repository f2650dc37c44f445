"""The booted machine with edge-pose on it, a broker, a camera and a watcher: what each scenario gets."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from machine import Machine, eventually

UNIT = "edge-pose.service"
BROKER = "mosquitto.service"
CAMERA = "test-camera.service"
PASSWORD = "not-a-secret"
TOPICS = "edge-pose/probe-device"
MESSAGES = "/run/messages.log"  # in memory: it must work on a read-only disk
CONFIG = """\
[camera]
source = "http://127.0.0.1:8899/camera"
[mqtt]
device_name = "probe-device"
username = "edge-pose"
health_interval = 5
"""
UNITS = {
    CAMERA: "ExecStart=/usr/bin/python3 /root/cargo/camera.py /root/cargo/pictures 8899\nType=simple\n",
    "test-watcher.service": (
        f"ExecStart=mosquitto_sub -h 127.0.0.1 -u watcher -P {PASSWORD} -t '#' -F '%%U %%r %%t %%p'\n"
        f"StandardOutput=append:{MESSAGES}\nRestart=always\nRestartSec=1\n"
    ),
}


class Device:
    """The machine with edge-pose on it, and what arrives at its broker."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.files_before: set[str] = set()

    def messages(self, topic: str, since_s: float) -> list[tuple[float, str]]:
        """What came on a topic below the device's: when, and the payload; without what the broker had kept."""
        found = []
        log = self.machine.path(MESSAGES)
        for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
            arrival, kept, full_topic, payload = [*line.split(" ", 3), "", "", ""][:4]
            if full_topic == f"{TOPICS}/{topic}" and kept == "0" and float(arrival) >= since_s:
                found.append((float(arrival), payload))
        return found

    def poses_flow(self, timeout_s: float, since_s: float | None = None) -> float:
        """Wait for three pose messages with somebody in them that arrived from now on; returns the wait."""
        start_s = time.time() if since_s is None else since_s
        eventually(
            "poses arrive at the broker",
            lambda: sum('"keypoints"' in payload for _, payload in self.messages("pose", start_s)) >= 3,
            timeout_s,
        )
        return time.time() - start_s

    def install(self, release: str, *more: str) -> tuple[int, str]:
        """Run a release's scripts/install in the tree, offline."""
        done = self.machine.run(*_install_command(release), *more, timeout_s=400)
        return done.returncode, done.stdout

    def install_until(self, what: str, happens: Callable[[], bool], release: str, *more: str) -> None:
        """The same, but the power fails when something has happened."""
        self.machine.do("systemd-run", "--quiet", "--collect", "--unit=interrupted", *_install_command(release), *more)
        eventually(what, happens, 120)
        self.machine.do("systemctl", "kill", "--signal=KILL", "interrupted.service")

    def status(self) -> str:
        return self.machine.property(UNIT, "StatusText")

    def restarts(self) -> int:
        return int(self.machine.property(UNIT, "NRestarts") or 0)

    def release(self) -> str:
        return self.machine.out("readlink", "/opt/edge-pose/current").rpartition("/")[2]

    def keeps_running(self, seconds: float) -> None:
        """The same process for so long, active all the while."""
        process, end_s = self.machine.main_pid(), time.monotonic() + seconds
        while time.monotonic() < end_s:
            state = self.machine.property(UNIT, "ActiveState")
            assert state == "active", f"{state}: {self.machine.journal()[-800:]}"
            assert self.machine.main_pid() == process, "the process is another one now"
            time.sleep(1)


def _install_command(release: str) -> tuple[str, ...]:
    return (f"/root/cargo/releases/{release}/scripts/install", "--offline", "/root/cargo/wheels")


def furnish(machine: Machine, cargo: Path) -> None:
    """Put the releases, a camera, a broker with passwords and a watcher into the tree."""
    shutil.copytree(cargo, machine.root / "root" / "cargo")
    for name, service in UNITS.items():
        machine.write(f"/etc/systemd/system/{name}", f"[Service]\n{service}[Install]\nWantedBy=multi-user.target\n")
    # Nothing that the system does of its own accord once a day may happen while files are compared.
    (machine.root / "etc/systemd/system/timers.target").symlink_to("/dev/null")
    # No log file: the disk could not become read-only while it is open.
    broker = "listener 1883 127.0.0.1\npassword_file /etc/mosquitto/passwords\nlog_dest stderr\n"
    machine.write("/etc/mosquitto/mosquitto.conf", broker)


def start_parts(machine: Machine) -> None:
    """Bring up what `furnish` laid down."""
    machine.do("ip", "link", "set", "lo", "up")
    machine.do("touch", "/etc/mosquitto/passwords")
    for user in ("edge-pose", "watcher"):
        machine.do("mosquitto_passwd", "-b", "/etc/mosquitto/passwords", user, PASSWORD)
    machine.do("chown", "mosquitto", "/etc/mosquitto/passwords")
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "restart", BROKER)
    machine.do("systemctl", "start", *UNITS)
