"""Scenarios: what goes wrong while the service runs."""

import itertools
import json
import time

from device import BROKER, CAMERA, CONFIG, UNIT, Device
from machine import eventually

AWAY_S = 60
WATCHDOG_S = 30
STALL_S = 5  # camera.stall_timeout's default
CLOCK_DROP_IN = """\
[Service]
Environment=LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE=/run/test-clock FAKETIME_NO_CACHE=1
Environment=FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1
"""


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
