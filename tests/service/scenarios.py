"""What a service must survive, driven in a booted Debian tree: scenarios.py [--quick] TREE CARGO [NAME...].

scripts/test-service makes both. Each scenario prints a line. They run in order, as the life of one device; names on the
command line leave out the others (the installation always runs).
"""

import argparse
import itertools
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from machine import Machine, eventually

UNIT = "edge-pose.service"
BROKER = "mosquitto.service"
CAMERA = "test-camera.service"
PASSWORD = "not-a-secret"
TOPICS = "edge-pose/probe-device"
MESSAGES = "/run/messages.log"  # in memory: it must work on a read-only disk
AWAY_S = 60
WATCHDOG_S = 30
STALL_S = 5  # camera.stall_timeout's default
NO_FAMILY = "Address family not supported"
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
# A probe runs with the unit's own settings: only what it starts, and how it says that it is up, differ.
PROBE_DROP_IN = """\
[Unit]
ConditionPathExists=
[Service]
Type=oneshot
ExecStart=
ExecStart=/usr/bin/python3 /opt/probe.py
Restart=no
WatchdogSec=0
"""
CLOCK_DROP_IN = """\
[Service]
Environment=LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE=/run/test-clock FAKETIME_NO_CACHE=1
Environment=FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1
"""


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
        done = self.machine.run(
            f"/root/cargo/releases/{release}/scripts/install", "--offline", "/root/cargo/wheels", *more, timeout_s=400
        )
        return done.returncode, done.stdout

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


def install_dry_run(device: Device) -> str:
    """--dry-run says what it would do and changes nothing."""
    before = device.machine.files()
    status, output = device.install("first", "--dry-run")
    assert status == 0, output
    assert "would run:" in output, output
    assert device.machine.files() == before, sorted(device.machine.files() ^ before)[:20]
    return f"{output.count('would run:')} steps named"


def install_from_nothing(device: Device) -> str:
    """From a bare system to keypoints on the broker."""
    machine = device.machine
    device.files_before = machine.files()
    status, output = device.install("first")
    # Nobody has said yet where the camera is, and the default, picamera2, is not to be had here.
    assert status == 1, output
    assert "picamera2" in output, output
    assert "edge-pose doctor" in output, output
    assert machine.out("stat", "-c", "%a %U %G", "/etc/edge-pose/config.toml") == "640 root edge-pose"
    assert machine.out("edge-pose", "config", "show") != ""
    groups = set(machine.out("id", "-nG", "edge-pose").split())
    assert groups == {"edge-pose", "video", "plugdev"}, groups
    machine.write("/etc/edge-pose/config.toml", CONFIG)
    machine.write("/etc/edge-pose/mqtt-password", PASSWORD + "\n", 0o600)
    machine.do("systemd-tmpfiles", "--create")
    machine.do("systemctl", "restart", UNIT)
    waited_s = device.poses_flow(30)
    eventually("STATUS says running", lambda: device.status().startswith("running:"), 15)
    return f"poses {waited_s:.1f} s after the start with a password from LoadCredential; {device.status()}"


def install_again(device: Device) -> str:
    """The second run changes nothing and restarts nothing."""
    machine = device.machine
    process, before = machine.main_pid(), machine.files()
    machine.do("touch", "/root/mark")
    status, output = device.install("first")
    assert status == 0, output
    assert "nothing to do" in output, output
    assert machine.main_pid() == process
    assert machine.files() == before, sorted(machine.files() ^ before)[:20]
    changed = machine.out(
        "find", "/opt/edge-pose", "/etc/edge-pose", "/usr/local", "-newer", "/root/mark", "-type", "f"
    )
    assert changed == "", changed
    return "same files, same process"


def units_are_sound(device: Device) -> str:
    """systemd-analyze finds nothing wrong, and a score of 1.7 at most, in the tree's own systemd."""
    machine = device.machine
    scores = []
    for name in ("edge-pose.service", "edge-pose@.service"):
        path = f"/usr/local/lib/systemd/system/{name}"
        verified = machine.run("systemd-analyze", "verify", path)
        assert verified.returncode == 0, verified.stdout
        assert "edge-pose" not in verified.stdout, verified.stdout
        judged = machine.run("systemd-analyze", "security", "--offline=true", "--threshold=17", "--no-pager", path)
        assert judged.returncode == 0, judged.stdout
        scores.append(judged.stdout.splitlines()[-1].split(": ")[1].split()[0])
    version = machine.out("systemctl", "--version").splitlines()[0]
    return f"scores {', '.join(scores)} on {version}"


def sandbox_holds(device: Device) -> str:
    """What the unit must not do is refused; the same program and user outside the sandbox may do it."""
    machine = device.machine
    machine.do("install", "-D", "-m", "755", "/root/cargo/probe.py", "/opt/probe.py")
    machine.do("install", "-d", "-m", "777", "/var/spool/edge-probe")
    machine.do("chmod", "666", "/dev/net/tun")
    machine.do("cp", "/usr/local/lib/systemd/system/edge-pose.service", "/run/systemd/system/edge-probe.service")
    machine.write("/run/systemd/system/edge-probe.service.d/probe.conf", PROBE_DROP_IN)
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "start", "edge-probe.service")
    inside = _verdicts(machine.journal("edge-probe.service"))
    outside = _verdicts(
        machine.do("systemd-run", "--quiet", "--pipe", "--wait", "--uid=edge-pose", "/usr/bin/python3", "/opt/probe.py")
    )
    for name in ("write-var", "device-tun", "read-home"):
        assert outside[name] == "allowed", f"no control: {name} without the sandbox: {outside[name]}"
        assert inside[name].startswith("refused"), f"{name} is allowed in the sandbox"
    for name in ("write-opt", "write-etc", "privileges"):
        assert inside[name].startswith("refused"), name
    for name in ("device-null", "write-run", "socket-inet"):
        assert inside[name] == "allowed", f"{name}: {inside[name]}"
    # Families that this kernel has: allowed without the sandbox, or refused for another reason (raw packets).
    families = [name for name, verdict in outside.items() if name.startswith("socket-") and NO_FAMILY not in verdict]
    families.remove("socket-inet")
    assert families, f"no control: this kernel has no other socket family: {outside}"
    for name in families:
        assert NO_FAMILY in inside[name], f"{name}: {inside[name]}"
    return f"refused: /var, /opt, /etc, /home, a device, {', '.join(families)}; each of the first allowed outside"


def _verdicts(text: str) -> dict[str, str]:
    """What the probe said of each thing: `allowed`, or `refused` with the system's reason."""
    words = [line.partition(" ") for line in text.splitlines()]
    return {name: verdict for name, _, verdict in words if verdict.startswith(("allowed", "refused"))}


def nothing_is_written(device: Device) -> str:
    """In steady state no byte goes to the disk, and no line into the log."""
    machine = device.machine
    device.poses_flow(20)
    eventually("the start is over", lambda: device.status().startswith("running:"), 10)
    pid = machine.main_pid()

    def written() -> str:
        return machine.out("grep", "write_bytes", f"/proc/{pid}/io")

    before, since = written(), machine.out("date", "+%s")
    time.sleep(20)
    assert written() == before, f"{before} -> {written()}"
    lines = machine.journal(UNIT, f"--since=@{since}")
    assert "-- No entries --" in lines or not lines, lines
    return "20 s: 0 bytes written, 0 lines logged"


def hung_process(device: Device) -> str:
    """SIGSTOP: the watchdog notices, and a new process publishes."""
    machine = device.machine
    before, start_s = device.restarts(), time.time()
    machine.signal("STOP", machine.main_pid())
    eventually("the watchdog restarts", lambda: device.restarts() > before, 50)
    noticed_s = time.time() - start_s
    assert "watchdog" in machine.out("journalctl", "--unit", UNIT, "--no-pager", "-n", "30").lower()
    device.poses_flow(20)
    return f"restarted after {noticed_s:.0f} s, poses {time.time() - start_s:.0f} s after SIGSTOP"


def killed_process(device: Device) -> str:
    """kill -9: poses again within 10 s."""
    machine = device.machine
    start_s = time.time()
    machine.signal("KILL", machine.main_pid())
    time.sleep(0.5)
    waited_s = device.poses_flow(10, since_s=time.time())
    return f"poses {time.time() - start_s:.1f} s later (the last {waited_s:.1f} s waited for)"


def restarts_slow_down(device: Device) -> str:
    """A process that dies again and again is started less and less often."""
    machine = device.machine
    machine.do("systemctl", "restart", UNIT)
    for _ in range(3):
        eventually("it runs", lambda: machine.property(UNIT, "ActiveState") == "active", 20)
        pid = machine.main_pid()
        machine.signal("KILL", pid)
        eventually("it is gone", lambda pid=pid: machine.main_pid() != pid, 10)
    eventually("a wait is announced", lambda: "failed starts" in device.status(), 15)
    said = device.status()
    device.poses_flow(30)
    machine.do("systemctl", "restart", UNIT)
    assert device.restarts() == 0
    assert machine.out("cat", "/run/edge-pose/restarts") in ("1", ""), "a restart by hand does not count anew"
    device.poses_flow(20)
    return said


def wrong_configuration(device: Device) -> str:
    """Status 78, no restart; mended, it starts again."""
    machine = device.machine
    machine.write("/etc/edge-pose/config.toml", CONFIG + "[detector]\nmin_skore = 1\n")
    machine.run("systemctl", "restart", UNIT)
    eventually("the unit fails", lambda: machine.property(UNIT, "ActiveState") == "failed", 20)
    time.sleep(5)
    assert machine.property(UNIT, "ExecMainStatus") == "78"
    assert machine.property(UNIT, "ActiveState") == "failed"
    assert device.restarts() == 0
    assert "did you mean min_score?" in machine.journal()
    assert "did you mean min_score?" in machine.out("journalctl", "--unit", UNIT, "--priority", "err", "--no-pager")
    machine.write("/etc/edge-pose/config.toml", CONFIG)
    machine.do("systemctl", "restart", UNIT)
    device.poses_flow(20)
    return "status 78, 0 restarts, the reason in the log at level err"


def broker_away(device: Device) -> str:
    """The broker is stopped for a minute: the service goes on, and poses flow again."""
    machine = device.machine
    machine.do("systemctl", "stop", BROKER)
    try:
        device.keeps_running(AWAY_S)
        assert "broker offline" in device.status(), device.status()
    finally:
        machine.do("systemctl", "start", BROKER)
    return f"same process; poses {device.poses_flow(15):.1f} s after the broker's return"


def broker_hangs(device: Device) -> str:
    """A broker that keeps the connection and answers nothing, for longer than the watchdog waits: no restart."""
    machine = device.machine
    pid = machine.main_pid(BROKER)
    machine.signal("STOP", pid)
    try:
        device.keeps_running(WATCHDOG_S + 5)
    finally:
        machine.signal("CONT", pid)
    return f"same process; poses {device.poses_flow(20):.1f} s after the broker woke"


def camera_away(device: Device) -> str:
    """The camera is gone for a minute: the service goes on, `health` says so, and poses flow again."""
    machine = device.machine
    start_s = time.time()
    machine.do("systemctl", "stop", CAMERA)
    try:
        device.keeps_running(AWAY_S)
        assert device.status().startswith("waiting for the camera"), device.status()
        told = [json.loads(payload) for _, payload in device.messages("health", start_s)]
        assert any(health["stalled"] for health in told), told
        assert not device.messages("pose", start_s + 5)
    finally:
        machine.do("systemctl", "start", CAMERA)
    waited_s = device.poses_flow(15)
    eventually("health is well again", lambda: _last_health(device).get("stalled") is False, 10)
    return f"same process, stalled in health; poses {waited_s:.1f} s after the camera's return"


def _last_health(device: Device) -> dict[str, object]:
    told = device.messages("health", 0)
    return json.loads(told[-1][1]) if told else {}


def camera_missing_at_start(device: Device) -> str:
    """Without a camera the service is up and says what it waits for; it starts by itself when the camera comes."""
    machine = device.machine
    machine.do("systemctl", "stop", CAMERA)
    machine.do("systemctl", "restart", UNIT)  # returns when the unit is ready
    said = device.status()
    assert said.startswith("waiting for the camera:"), said
    device.keeps_running(WATCHDOG_S + 5)
    machine.do("systemctl", "start", CAMERA)
    return f"ready without it; poses {device.poses_flow(20):.1f} s after it came"


def full_and_read_only(device: Device) -> str:
    """A full /var and a read-only root: still running, and restarts."""
    machine = device.machine
    machine.do("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/var")
    machine.do("mkdir", "/var/tmp", "/var/log", "/var/lib", "/var/spool")  # noqa: S108 -- the tree's
    machine.run("dd", "if=/dev/zero", "of=/var/full", "bs=4k")
    try:
        machine.do("journalctl", "--relinquish-var")  # the disk cannot become read-only under an open log
        machine.do("mount", "-o", "remount,ro,bind", "/")
        assert machine.run("sh", "-c", "echo x >/var/log/probe").returncode != 0, "/var is not full"
        assert machine.run("touch", "/etc/probe").returncode != 0, "/ can be written"
        device.keeps_running(10)
        device.poses_flow(5)
        machine.signal("KILL", machine.main_pid())
        time.sleep(1)
        back_s = device.poses_flow(15)
    finally:
        machine.run("mount", "-o", "remount,rw,bind", "/")
        machine.run("umount", "--lazy", "/var")
    return f"the same process went on; killed meanwhile, poses came again {back_s + 1:.1f} s later"


def clock_jumps(device: Device) -> str:
    """The clock a day forward and back: no stall, and times are right again.

    Only the service sees the other time (libfaketime): this machine's clock is not the tree's to change.
    """
    machine = device.machine
    library = machine.out("sh", "-c", "ls /usr/lib/*/faketime/libfaketime.so.1")
    machine.do("sh", "-c", "echo +0 >/run/test-clock; chmod 644 /run/test-clock")
    machine.do("mkdir", "-p", "/etc/systemd/system/edge-pose.service.d")
    machine.write("/etc/systemd/system/edge-pose.service.d/clock.conf", CLOCK_DROP_IN.format(library=library))
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "restart", UNIT)
    try:
        device.poses_flow(20)
        stories = [_after_jump(device, shift_s) for shift_s in (86400, -86400, 0)]
    finally:
        machine.do("rm", "-r", "/etc/systemd/system/edge-pose.service.d")
        machine.do("systemctl", "daemon-reload")
        machine.do("systemctl", "restart", UNIT)
    device.poses_flow(20)
    return "; ".join(stories)


def _after_jump(device: Device, shift_s: int) -> str:
    device.machine.do("sh", "-c", f"echo {shift_s:+d} >/run/test-clock")
    time.sleep(1)
    start_s = time.time()
    device.keeps_running(8)
    device.poses_flow(15)  # a loaded machine gives few in that time
    arrived = device.messages("pose", start_s)
    # How long ago the picture was taken, by its own time: what it took through the models and the broker.
    ages_s = [arrival + shift_s - json.loads(payload)["time"] for arrival, payload in arrived]
    assert min(ages_s) > -0.5, ages_s
    assert max(ages_s) < 10, ages_s
    times_s = [start_s, *(arrival for arrival, _ in arrived)]
    longest_gap_s = max(later - earlier for earlier, later in itertools.pairwise(times_s))
    assert longest_gap_s < STALL_S, f"nothing came for {longest_gap_s:.1f} s"
    return f"{shift_s:+d} s: {len(arrived)} messages, longest gap {longest_gap_s:.1f} s"


def clean_stop(device: Device) -> str:
    """Stopped within 3 s, with `offline` published; also while the camera is frozen."""
    machine = device.machine
    times = []
    for frozen in (False, True):
        if frozen:
            machine.signal("STOP", machine.main_pid(CAMERA))
            time.sleep(7)  # the source has noticed and is opening again
        start_s = time.time()
        machine.do("systemctl", "stop", UNIT)
        times.append(time.time() - start_s)
        if frozen:
            machine.signal("CONT", machine.main_pid(CAMERA))
        assert times[-1] < 3, f"{times[-1]:.1f} s to stop"
        assert machine.property(UNIT, "Result") == "success", machine.property(UNIT, "Result")
        eventually(
            "offline is published",
            lambda start_s=start_s: any(payload == "offline" for _, payload in device.messages("status", start_s)),
            2,
        )
        machine.do("systemctl", "start", UNIT)
        device.poses_flow(20)
    return f"{times[0]:.1f} s, and {times[1]:.1f} s with a frozen camera"


def second_camera(device: Device) -> str:
    """edge-pose@door with /etc/edge-pose/door.toml, beside the first."""
    machine = device.machine
    machine.write("/etc/edge-pose/door.toml", CONFIG.replace("probe-device", "door"))
    machine.do("systemd-tmpfiles", "--create")
    machine.do("systemctl", "enable", "--now", "edge-pose@door.service")
    log = machine.path(MESSAGES)
    eventually("poses of the second camera", lambda: "edge-pose/door/pose " in log.read_text(errors="replace"), 20)
    device.poses_flow(10)
    return machine.property("edge-pose@door.service", "StatusText")


def upgrade(device: Device) -> str:
    """To a good release: both cameras run it, and the changed default is shown."""
    status, output = device.install("good")
    assert status == 0, output
    assert "upgraded from 8.0.0 to 8.0.1" in output, output
    assert "min_score = 0.45" in output, output
    assert device.release() == "8.0.1"
    for unit in (UNIT, "edge-pose@door.service"):
        executable = device.machine.out("readlink", f"/proc/{device.machine.main_pid(unit)}/cwd")
        assert executable.startswith("/run/edge-pose"), executable
        command = device.machine.out("cat", f"/proc/{device.machine.main_pid(unit)}/cmdline")
        assert "8.0.1" in command, command
    device.poses_flow(10)
    return "8.0.0 to 8.0.1, both units; min_score = 0.45 shown"


def upgrade_to_truncated(device: Device) -> str:
    """A damaged model is found before anything is switched."""
    process = device.machine.main_pid()
    status, output = device.install("truncated")
    assert status == 1, output
    assert "models of this release are damaged" in output, output
    assert "8.0.2" not in device.machine.out("ls", "/opt/edge-pose/releases")
    assert device.release() == "8.0.1"
    assert device.machine.main_pid() == process
    return "refused before the switch; the old one was not touched"


def upgrade_to_unloadable(device: Device) -> str:
    """A truncated model with fitting sums: it starts, fails, and the old release comes back by itself."""
    return _comes_back(device, "unloadable", "8.0.3")


def upgrade_to_never_ready(device: Device) -> str:
    """A release that never becomes ready: the old one comes back by itself, units included."""
    story = _comes_back(device, "never-ready", "8.0.4", "--wait", "25")
    unit = device.machine.path("/usr/local/lib/systemd/system/edge-pose.service").read_text()
    assert "never ready" not in unit
    return story


def _comes_back(device: Device, release: str, version: str, *more: str) -> str:
    start_s = time.time()
    status, output = device.install(release, *more)
    assert status == 1, output
    assert f"release {version} does not work here; going back to 8.0.1" in output, output
    assert "went back to release 8.0.1, which works again" in output, output
    assert device.release() == "8.0.1"
    device.poses_flow(10)
    return f"back on 8.0.1 after {time.time() - start_s:.0f} s, and says so"


def uninstall(device: Device) -> str:
    """--purge leaves no file, user or unit."""
    machine = device.machine
    script = "/opt/edge-pose/current/share/uninstall"
    machine.do(script, "--dry-run", "--purge")
    machine.do(script, "--purge")
    machine.run("rm", "-rf", "/opt/probe.py", "/var/spool/edge-probe")
    left = {path for path in machine.files() - device.files_before if "/__pycache__/" not in path}
    assert not left, sorted(left)[:20]
    missing = device.files_before - machine.files()
    assert not missing, sorted(missing)[:20]
    assert "edge-pose" not in machine.out("cat", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")
    units = machine.out("systemctl", "list-units", "--all", "--plain", "--no-legend", "edge-pose*")
    assert units == "", units
    return "the same files as before the installation, no user, no unit"


def install_beside_picamera2(device: Device) -> str:
    """With the system's picamera2: the release sees it, and has the numpy that it was built against."""
    machine = device.machine
    machine.do("dpkg", "--install", "/root/cargo/picamera2.deb")
    machine.write("/etc/edge-pose/config.toml", CONFIG)
    machine.write("/etc/edge-pose/mqtt-password", PASSWORD + "\n", 0o600)
    status, output = device.install("first")
    assert status == 0, output
    ask_numpy = "import picamera2, numpy; print(numpy.__version__)"
    version = machine.do("/opt/edge-pose/current/bin/python", "-c", ask_numpy)
    constraint = machine.do("cat", "/opt/edge-pose/current/constraints.txt")
    system = machine.do("/usr/bin/python3", "-c", ask_numpy)
    assert f"numpy>={system}," in constraint, constraint
    assert version.split(".")[0] == system.split(".")[0], f"{version} beside picamera2's {system}"
    found = json.loads(machine.out("edge-pose", "doctor", "--json"))["checks"]
    numpy = [finding for finding in found if finding["check"] == "numpy"]
    assert numpy[0]["state"] == "ok", numpy
    assert "as picamera2 wants it" in numpy[0]["text"], numpy
    device.poses_flow(20)
    machine.do("/opt/edge-pose/current/share/uninstall", "--purge")
    machine.do("dpkg", "--purge", "python3-picamera2")
    return f"{constraint}: numpy {version}"


SCENARIOS: tuple[Callable[[Device], str], ...] = (
    install_dry_run,
    install_from_nothing,
    install_again,
    units_are_sound,
    sandbox_holds,
    nothing_is_written,
    hung_process,
    killed_process,
    restarts_slow_down,
    wrong_configuration,
    broker_away,
    broker_hangs,
    camera_away,
    camera_missing_at_start,
    full_and_read_only,
    clock_jumps,
    clean_stop,
    second_camera,
    upgrade,
    upgrade_to_truncated,
    upgrade_to_unloadable,
    upgrade_to_never_ready,
    uninstall,
    install_beside_picamera2,
)
# Enough to see that an installation works, lives, and is removed; without what waits for minutes.
QUICK: tuple[Callable[[Device], str], ...] = (
    install_dry_run,
    install_from_nothing,
    install_again,
    units_are_sound,
    sandbox_holds,
    hung_process,
    killed_process,
    wrong_configuration,
    second_camera,
    upgrade,
    upgrade_to_truncated,
    upgrade_to_unloadable,
    uninstall,
)


def furnish(machine: Machine, cargo: Path) -> None:
    """Put the releases, a camera, a broker with passwords and a watcher into the tree."""
    shutil.copytree(cargo, machine.root / "root" / "cargo")
    for name, service in UNITS.items():
        machine.write(f"/etc/systemd/system/{name}", f"[Service]\n{service}[Install]\nWantedBy=multi-user.target\n")
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


def run_all(device: Device, scenarios: Sequence[Callable[[Device], str]]) -> int:
    """Run them in order and print a line each; returns how many failed."""
    failed = passed = 0
    for scenario in scenarios:
        start_s = time.monotonic()
        try:
            story = scenario(device)
            passed += 1
            print(f"ok      {time.monotonic() - start_s:5.1f} s  {scenario.__name__}: {story}", flush=True)
        except AssertionError as error:
            failed += 1
            print(f"FAILED  {time.monotonic() - start_s:5.1f} s  {scenario.__name__}: {error}", flush=True)
            print("    " + device.machine.journal(UNIT, "--lines=15").replace("\n", "\n    "), flush=True)
            if scenario is install_from_nothing:
                break
    print(f"{passed} passed, {failed} failed")
    return failed


def main() -> int:
    """Boot the tree and run the scenarios; returns 1 if one failed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("tree", type=Path)
    arguments.add_argument("cargo", type=Path)
    known = {scenario.__name__: scenario for scenario in SCENARIOS}
    arguments.add_argument("names", nargs="*", choices=[[], *known], metavar="name")
    given = arguments.parse_args()
    names = {*given.names, install_from_nothing.__name__} if given.names else set(known)
    chosen = [scenario for scenario in (QUICK if given.quick else SCENARIOS) if scenario.__name__ in names]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of Machine.__exit__, so that nothing is left running
    with Machine(given.tree, Path(tempfile.mkdtemp(prefix="edge-pose-machine-"))) as machine:
        furnish(machine, given.cargo)
        try:
            machine.boot()
        except AssertionError as error:
            print(f"SKIPPED scripts/test-service: systemd does not come up in a container here: {error}")
            return 0
        start_parts(machine)
        return int(run_all(Device(machine), chosen) > 0)


if __name__ == "__main__":
    sys.exit(main())
