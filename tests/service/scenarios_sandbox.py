"""Scenarios: what the unit may do, and what it must not."""

import time

from device import UNIT, Device
from machine import eventually

NO_FAMILY = "Address family not supported"
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
