"""What systemd is told, and when: over a real socket, with real sources."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from brokers import eventually
from conftest import settings

from edge import broker, camera_live, health, service
from edge.camera_live import LiveSource, Picture
from edge.camera_source import Source
from edge.errors import CameraHungError, ConfigError, SourceError, SourceNotFoundError
from edge.estimator import Estimate
from edge.pipeline import Controls, Pipeline
from edge.pose import Frame
from edge.service import JournalFormatter, LoopState, Notifier, Service, restart_delay_s
from edge.service_camera import opened


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.address = address
        self.heard = []

    def listen(self, timeout_s=0.05):
        """Every message so far, as `NAME=value` lines in order."""
        self.socket.settimeout(timeout_s)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            for _ in range(100):  # whoever sends without end does not hold us
                self.heard += self.socket.recv(4096).decode().splitlines()
                self.socket.settimeout(0)
        return self.heard

    def hears(self, line, timeout_s=10):
        return eventually(lambda: any(heard.startswith(line) for heard in self.listen()), timeout_s)

    def environment(self, watchdog_s=0.0):
        watchdog = {"WATCHDOG_USEC": str(int(watchdog_s * 1e6)), "WATCHDOG_PID": str(os.getpid())} if watchdog_s else {}
        return {"NOTIFY_SOCKET": self.address, **watchdog}

    def service(self, watchdog_s=0.0, directory=None):
        return Service(Notifier(self.environment(watchdog_s)), directory)


@pytest.fixture(params=["path", "abstract"])
def either_manager(request, tmp_path):
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@edge-pose-test-{os.getpid()}")
    yield manager
    manager.socket.close()


@pytest.fixture
def manager(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


def test_messages_arrive_as_lines(either_manager):
    Notifier(either_manager.environment()).send(STATUS="two\nlines  of text", READY="1")
    assert either_manager.listen() == ["STATUS=two lines of text", "READY=1"]


def test_without_a_socket_nothing_happens():
    notifier = Notifier({})
    notifier.send(READY="1")
    assert not notifier.active
    assert notifier.watchdog_s == 0


def test_a_watchdog_of_another_process_is_not_ours(manager):
    environment = manager.environment(watchdog_s=5) | {"WATCHDOG_PID": "1"}
    assert Notifier(manager.environment(watchdog_s=5)).watchdog_s == 5
    assert Notifier(environment).watchdog_s == 0


def test_a_socket_that_is_gone_is_said_once(tmp_path, caplog):
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    notifier.send(READY="1")
    notifier.send(WATCHDOG="1")
    assert len(caplog.records) == 1
    assert "READY" in caplog.text


def test_ready_after_the_first_finished_frame_and_not_before(manager):
    tested = manager.service()
    tested.turn(LoopState(broker="connecting"))
    assert "READY=1" not in manager.listen()
    assert "STATUS=starting: no frame yet, broker connecting" in manager.heard
    tested.frame_finished(people=2)
    tested.turn(LoopState(broker="connected"))
    tested.turn(LoopState(broker="connected"))
    assert manager.listen().count("READY=1") == 1
    assert "STATUS=running: 2 people, broker connected" in manager.heard


def test_ready_when_switched_off_before_the_first_frame(manager):
    manager.service().turn(LoopState(enabled=False, broker="connected"))
    assert "READY=1" in manager.listen()
    assert "STATUS=switched off by command, broker connected" in manager.heard


def test_status_carries_the_rate(manager, monkeypatch):
    monkeypatch.setattr(service, "STATUS_INTERVAL_S", 0.2)
    tested = manager.service()
    for _ in range(30):
        tested.frame_finished(people=1)
        tested.turn(LoopState(broker="offline"))
        time.sleep(0.02)
    rates = [float(line.split()[1]) for line in manager.listen() if " fps, 1 person, broker offline" in line]
    assert rates
    assert all(1 < rate <= 50 for rate in rates), rates


def test_only_turns_feed_the_watchdog(manager):
    tested = manager.service(watchdog_s=0.3)
    time.sleep(0.5)
    assert "WATCHDOG=1" not in manager.listen()
    for _ in range(20):
        tested.turn(LoopState())
    assert manager.listen().count("WATCHDOG=1") == 1, "a turn soon after is not told"
    time.sleep(0.1)
    tested.turn(LoopState())
    assert manager.listen().count("WATCHDOG=1") == 2


@pytest.mark.parametrize("state", [LoopState(stalled=True), LoopState(enabled=False), LoopState(broker="offline")])
def test_what_is_no_reason_to_restart_feeds_the_watchdog(manager, state):
    manager.service(watchdog_s=5).turn(state)
    assert "WATCHDOG=1" in manager.listen()


def test_a_hung_driver_does_not_feed_the_watchdog(manager):
    manager.service(watchdog_s=5).turn(LoopState(hung=True, stalled=True))
    assert "WATCHDOG=1" not in manager.listen()
    assert any("driver does not answer" in line for line in manager.heard)


class StillLife(Source):
    """A source that always has a frame."""

    name = "still life"
    ended = False

    def read(self, timeout_s=None):  # noqa: ARG002
        time.sleep(0.005)
        now_s = time.monotonic()
        return Frame(np.zeros((64, 64, 3), np.uint8), time_s=now_s, epoch_s=now_s, available_s=now_s)

    def close(self):
        """Nothing to close."""


class SlowEstimator:
    """Stands for models of which one run hangs for as long as `hang` is not set."""

    def __init__(self):
        self.hang = threading.Event()
        self.running = threading.Event()

    def follow(self, _frame):
        self.running.set()
        self.hang.wait(20)
        return Estimate()


def test_a_hung_model_starves_the_watchdog(manager):
    tested, estimator, controls = manager.service(watchdog_s=0.3), SlowEstimator(), Controls()
    pipeline = Pipeline(
        *("device", StillLife(), estimator, []),
        observers=[lambda _frame, estimate: tested.frame_finished(len(estimate.poses))],
        tick=lambda: tested.turn(LoopState()),
        controls=controls,
    )
    loop = threading.Thread(target=pipeline.run, daemon=True)
    loop.start()
    assert estimator.running.wait(10)
    fed = manager.listen(0.2).count("WATCHDOG=1")
    time.sleep(1)
    assert manager.listen().count("WATCHDOG=1") == fed
    assert "READY=1" not in manager.heard
    estimator.hang.set()
    assert manager.hears("READY=1")
    assert eventually(lambda: manager.listen().count("WATCHDOG=1") > fed)
    controls.stop.set()
    loop.join(10)


def test_a_low_frame_rate_feeds_the_watchdog_and_can_be_raised_again(manager):
    tested, controls = manager.service(watchdog_s=0.6), Controls(max_fps=0.001)
    estimator = SlowEstimator()
    estimator.hang.set()
    pipeline = Pipeline(
        *("device", StillLife(), estimator, []), tick=lambda: tested.turn(LoopState()), controls=controls
    )
    loop = threading.Thread(target=pipeline.run, daemon=True)
    loop.start()
    assert eventually(lambda: pipeline.figures.frames > 0)
    fed = manager.listen().count("WATCHDOG=1")
    assert eventually(lambda: manager.listen().count("WATCHDOG=1") >= fed + 3)
    slow = pipeline.figures.frames
    assert slow <= 2
    controls.max_fps = 50
    assert eventually(lambda: pipeline.figures.frames > slow + 5)
    controls.stop.set()
    loop.join(10)
    assert not loop.is_alive()


class Grabber:
    """A camera that gives pictures, hangs in its driver, or fails, as it is told."""

    name = "a camera"
    recording = False

    def __init__(self):
        self.mood = "well"
        self.let_go = threading.Event()

    def open(self):
        if self.mood == "gone":
            raise SourceError("gone")
        return "64x64"

    def grab(self):
        if self.mood == "gone":
            raise SourceError("gone")
        if self.mood == "hung":
            self.let_go.wait(30)
        time.sleep(0.02)
        now_s = time.monotonic()
        return Picture(np.zeros((64, 64, 3), np.uint8), now_s, now_s)

    def close(self):
        """Nothing to close."""


@pytest.mark.parametrize(("mood", "hangs"), [("well", False), ("gone", False), ("hung", True)])
def test_a_source_knows_a_hung_driver_from_a_lost_camera(monkeypatch, mood, hangs):
    monkeypatch.setattr(camera_live, "HUNG_S", 0.3)
    monkeypatch.setattr(camera_live, "LONGEST_PAUSE_S", 0.2)
    grabber = Grabber()
    with LiveSource(grabber, settings(camera__open_timeout=1.0, camera__stall_timeout=0.5).camera) as source:
        assert source.read(5) is not None
        grabber.mood = mood
        hung = eventually(lambda: source.hung, 10 if hangs else 2)
        grabber.mood = "well"
        grabber.let_go.set()
        assert hung is hangs
        assert eventually(lambda: not source.hung)


def test_a_missing_camera_is_waited_for(manager, clip, tmp_path):
    path = tmp_path / "later.mp4"
    found = []
    controls = Controls()

    def wait():
        with opened(settings(camera__source=str(path)).camera, controls, manager.service()) as source:
            found.append(source.read())

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert manager.hears("READY=1")
    assert f"STATUS=waiting for the camera: {path}: there is no such file." in " ".join(manager.heard)
    assert not found
    shutil.copy(clip, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)
    waiting.join(20)
    assert found
    assert found[0].width_px == 1768


def test_behind_a_driver_that_does_not_return_nothing_is_tried_and_the_watchdog_is_not_fed(manager, monkeypatch):
    let_go, attempts = threading.Event(), []
    stuck = threading.Thread(target=let_go.wait, daemon=True)
    stuck.start()

    def hangs(_):
        attempts.append(time.monotonic())
        raise CameraHungError("no picture within 10 s of opening", stuck)

    monkeypatch.setattr("edge.service_camera.open_source", hangs)
    controls = Controls()

    def wait():
        with opened(settings().camera, controls, manager.service()):
            pass

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert eventually(lambda: attempts)
    assert not manager.hears("READY=1", 1.5)
    assert len(attempts) == 1
    let_go.set()
    assert manager.hears("READY=1")
    assert eventually(lambda: len(attempts) > 1)
    controls.stop.set()
    waiting.join(5)


def test_a_stop_ends_the_wait_for_a_camera(manager, tmp_path):
    controls = Controls()
    threading.Timer(0.3, controls.stop.set).start()
    start_s = time.monotonic()
    with opened(settings(camera__source=str(tmp_path / "never.mp4")).camera, controls, manager.service()) as source:
        assert source is None
    assert time.monotonic() - start_s < 3


def test_without_a_manager_a_missing_camera_is_an_error(tmp_path):
    with (
        pytest.raises(SourceNotFoundError),
        opened(settings(camera__source=str(tmp_path / "never.mp4")).camera, Controls(), Service(Notifier({}))),
    ):
        raise AssertionError


def test_what_time_does_not_mend_is_not_waited_for(manager, tmp_path):
    (tmp_path / "text.mp4").write_text("no film")
    camera = settings(camera__source=str(tmp_path / "text.mp4")).camera
    with pytest.raises(SourceError, match=r"text\.mp4"), opened(camera, Controls(), manager.service()):
        raise AssertionError
    with (
        pytest.raises(ConfigError),
        opened(settings(camera__source="gopher://x").camera, Controls(), manager.service()),
    ):
        raise AssertionError
    assert "READY=1" not in manager.listen()


def test_restarts_slow_down():
    delays_s = [restart_delay_s(failed) for failed in range(12)]
    assert delays_s[: service.QUICK_RESTARTS] == [0.0] * service.QUICK_RESTARTS
    assert delays_s == sorted(delays_s)
    assert delays_s[-1] == service.LONGEST_DELAY_S


def test_failed_starts_are_counted_until_a_good_run_or_a_stop(manager, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "LONGEST_DELAY_S", 0.2)
    count = tmp_path / "restarts"
    for start in range(1, 5):
        assert manager.service(directory=tmp_path).delay_start(Controls())
        assert count.read_text() == str(start)
    start_s = time.monotonic()
    last = manager.service(directory=tmp_path)
    assert last.delay_start(Controls())
    assert time.monotonic() - start_s >= 0.2
    assert any("after 4 failed starts" in line for line in manager.listen())
    monkeypatch.setattr(service, "GOOD_RUN_S", 0.1)
    last.frame_finished(1)
    last.turn(LoopState())
    assert count.exists()
    time.sleep(0.15)
    last.turn(LoopState())
    assert not count.exists()
    stopped = manager.service(directory=tmp_path)
    stopped.delay_start(Controls())
    stopped.stopping()
    assert not count.exists()


def test_a_stop_during_the_delay_counts_anew(manager, tmp_path):
    (tmp_path / "restarts").write_text("9")
    controls = Controls()
    controls.stop.set()
    assert not manager.service(directory=tmp_path).delay_start(controls)
    assert not (tmp_path / "restarts").exists()


def test_log_lines_carry_levels_for_the_journal(monkeypatch):
    stream = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
    formatter = JournalFormatter("%(message)s")

    def line(level):
        return formatter.format(logging.LogRecord("edge", level, "", 0, "one\ntwo", (), None))

    assert line(logging.ERROR) == "<3>one\n<3>two"
    assert line(logging.WARNING) == "<4>one\n<4>two"
    assert line(logging.INFO) == "<6>one\n<6>two"
    assert line(logging.DEBUG) == "<7>one\n<7>two"
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")  # inherited by a terminal
    assert line(logging.ERROR) == "one\ntwo"


def test_a_blank_credential_is_no_password(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    credential = tmp_path / broker.CREDENTIAL
    mqtt = settings(mqtt__username="me").mqtt
    credential.write_text("\n")
    assert broker.password(mqtt) is None
    credential.write_text("secret\n")
    assert broker.password(mqtt) == "secret"
    credential.write_text("secret\nmore\n")
    with pytest.raises(ConfigError, match="2 lines"):
        broker.password(mqtt)
    credential.write_text(65_536 * "a")
    with pytest.raises(ConfigError, match="room for a password of 65535 bytes"):
        broker.password(mqtt)


def test_run_tells_its_manager_from_start_to_stop(manager, clip):
    environment = {**os.environ, **manager.environment(), "WATCHDOG_USEC": "3000000", "EDGE_POSE_CAMERA_LOOP": "true"}
    environment.pop("WATCHDOG_PID", None)
    command = [sys.executable, "-m", "edge", "run", "--source", str(clip), "--broker", "mqtt://127.0.0.1:1"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            assert manager.hears("READY=1", 60)
            # After the first frame: a silhouette against the sky, who is believed when it has moved.
            assert manager.hears("STATUS=running: 0 people, broker offline: mqtt://127.0.0.1:1: nothing listens there")
            assert manager.hears("WATCHDOG=1")
            process.send_signal(signal.SIGTERM)
            start_s = time.monotonic()
            assert process.wait(20) == 0
            assert time.monotonic() - start_s < 3
        finally:
            process.kill()
    assert "STOPPING=1" in manager.listen()


def test_memory_and_its_rest_are_measured():
    assert 5 < health.rss_mb() < 100_000
    assert health.available_mb() > 1


def test_health_of_a_throttled_pi(tmp_path):
    soc = tmp_path / "soc@107c000000" / "soc@107c000000:firmware"
    soc.mkdir(parents=True)
    (soc / "get_throttled").write_text("50005\n")
    word = health.throttle_word(tmp_path)
    assert word == 0x50005
    assert health.throttled(word) == ["under-voltage", "throttled"]
    assert health.throttled_before(word) == ["under-voltage", "throttled"]
    assert health.throttled(0xE0000) == []
    assert health.throttle_word(tmp_path / "soc@107c000000" / "none") is None
    assert health.throttled(None) is None


def test_the_processor_is_the_zone_that_counts(tmp_path):
    for number, (kind, milli) in enumerate([("battery", "20000"), ("off", "error"), ("cpu-thermal", "61234")]):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}" / "type").write_text(kind + "\n")
        (tmp_path / f"thermal_zone{number}" / "temp").write_text(milli)
    assert health.temperature_c(tmp_path) == pytest.approx(61.234)
    assert health.temperature_c(tmp_path / "nothing") is None
