"""Scenarios: installing, upgrading to good and to broken releases, removing."""

import json
import time

from device import CONFIG, MESSAGES, PASSWORD, UNIT, Device
from machine import eventually


def install_dry_run(device: Device) -> str:
    """--dry-run says what it would do and changes nothing."""
    before = device.machine.files()
    status, output = device.install("first", "--dry-run")
    assert status == 0, output
    assert "would run:" in output, output
    assert device.machine.files() == before, sorted(device.machine.files() ^ before)[:20]
    return f"{output.count('would run:')} steps named"


def install_from_nothing(device: Device) -> str:
    """From a bare system to keypoints on the broker; a first attempt is cut off half way."""
    machine = device.machine
    device.files_before = machine.files()
    libraries = machine.path("/opt/edge-pose/releases/8.0.0/lib")
    device.install_until("pip is there", lambda: any(libraries.glob("*/site-packages/pip")), "first")
    assert not machine.path("/opt/edge-pose/current").exists()
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
    assert "keepalive = 7" in output, output
    assert device.release() == "8.0.1"
    for unit in (UNIT, "edge-pose@door.service"):
        executable = device.machine.out("readlink", f"/proc/{device.machine.main_pid(unit)}/cwd")
        assert executable.startswith("/run/edge-pose"), executable
        command = device.machine.out("cat", f"/proc/{device.machine.main_pid(unit)}/cmdline")
        assert "8.0.1" in command, command
    device.poses_flow(10)
    return "8.0.0 to 8.0.1, both units; keepalive = 7 shown"


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
    """A release that never becomes ready: the old one comes back by itself, units included.

    A first attempt is cut off when it is switched and not yet judged: the next run judges it.
    """
    device.install_until("it is switched", lambda: device.release() == "8.0.4", "never-ready")
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
    # systemd forgets a unit whose file is gone when it next has nothing else to do.
    listed = ("systemctl", "list-units", "--all", "--plain", "--no-legend", "edge-pose*")
    eventually("no unit is left", lambda: machine.out(*listed) == "", 15)
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
    found = json.loads(machine.out("sh", "-c", "edge-pose doctor --json 2>/dev/null"))["checks"]
    numpy = [finding for finding in found if finding["check"] == "numpy"]
    assert numpy[0]["state"] == "ok", numpy
    assert "as picamera2 wants it" in numpy[0]["text"], numpy
    device.poses_flow(20)
    machine.do("/opt/edge-pose/current/share/uninstall", "--purge")
    machine.do("dpkg", "--purge", "python3-picamera2")
    return f"{constraint}: numpy {version}"
