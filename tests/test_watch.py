"""The terminal view of all devices."""

import io
import re
from pathlib import Path

import msgspec
import pytest
from brokers import Mosquitto, eventually, needs_mosquitto
from wire import sample_message

from edge.messages import Health, Info, ModelInfo, Percentiles, encode
from edge.mqtt_message import Message, Received
from edge.mqtt_once import publish_once
from edge.publisher import Publisher
from edge.watch import Fleet, watch


def feed(fleet: Fleet, topic: str, payload: bytes, now_s: float = 0.0) -> None:
    fleet.feed(Received(topic, payload, retained=False), now_s)


def test_a_line_tells_how_a_device_is() -> None:
    fleet = Fleet("home/cams")
    models: tuple[ModelInfo, ...] = (ModelInfo(role="detector", name="detector", precision="int8"),)
    models += (ModelInfo(role="landmarks", name="pose_landmark_lite", precision="int8"),)
    health = Health(
        time=1.0, fps=14.6, latency_ms=Percentiles(p50=61.0), temperature_c=58.4, throttled=["under-voltage"]
    )
    feed(fleet, "home/cams/kitchen/status", b"online")
    feed(fleet, "home/cams/kitchen/count", b"2")
    feed(fleet, "home/cams/kitchen/health", encode(health))
    feed(fleet, "home/cams/kitchen/info", encode(Info(device="kitchen", models=models, version="9.9")))
    for number in range(20):
        feed(fleet, "home/cams/kitchen/pose", encode(sample_message(seq=number)), number / 10)
    head, line = fleet.table(2.0)
    assert re.split(r" {2,}", head) == [
        *("device", "status", "people", "poses/s", "fps", "latency ms", "temp °C", "throttled", "model", "version")
    ]
    expected = ["kitchen", "online", "2", "10.0", "14.6", "41", "58", "under-voltage", "lite", "9.9"]
    assert re.split(r" {2,}", line) == expected
    assert re.split(r" {2,}", fleet.table(60.0)[1])[3:6] == ["0.0", "14.6", "61"]
    feed(fleet, "home/cams/kitchen/pose", encode(sample_message(seq=21)), 60.0)
    feed(fleet, "home/cams/kitchen/status", b"offline")
    assert re.split(r" {2,}", fleet.table(60.0)[1])[1:6] == ["offline", "-", "0.0", "-", "-"]


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"x" * 1000, b"[" * 50_000, b"{}"])
@pytest.mark.parametrize("topic", ["count", "health", "info", "pose"])
def test_what_cannot_be_read_is_counted_and_shown(topic: str, payload: bytes) -> None:
    fleet = Fleet("edge-pose")
    feed(fleet, f"edge-pose/x/{topic}", payload)
    assert fleet.table(0.0)[-1] == "1 messages could not be read"


def test_a_stranger_cannot_steer_the_terminal() -> None:
    fleet = Fleet("edge-pose")
    feed(fleet, "edge-pose/\x1b[2Jevil/status", b"online")
    feed(fleet, "edge-pose/a/b/c/status", b"online")
    feed(fleet, "other/a/status", b"online")
    table = "\n".join(fleet.table(0.0))
    assert "\x1b" not in table
    assert len(fleet.devices) == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@needs_mosquitto
def test_a_low_and_narrow_window_keeps_the_headings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "8")
    with Mosquitto(tmp_path / "broker") as broker:
        for number in range(9):
            publish_once(broker.settings(), Message(f"edge-pose/room{number}/status", b"online", 1, retain=True))
        out = Terminal()
        watch(broker.settings(), duration_s=0.5, stream=out)
    lines = out.getvalue().rsplit("\x1b[J", 1)[1].splitlines()
    assert len(lines) == 7  # and the cursor below them
    assert max(map(len, lines)) == 40
    assert lines[2].startswith("device  status")
    assert lines[-1] == "... 6 lines more: the window is too low"[:40]


@needs_mosquitto
def test_all_devices_of_a_broker_are_shown(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        publishers = [Publisher(broker.settings(device_name=name), Info(device=name)) for name in ("attic", "kitchen")]
        for publisher in publishers:
            publisher.start()
            publisher.publish_count(1, 1.0)
        assert eventually(lambda: all(publisher.state.phase == "connected" for publisher in publishers))
        out = io.StringIO()
        watch(msgspec.structs.replace(broker.settings(), device_name=""), duration_s=1.5, stream=out)
        assert re.search(r"attic +online +1 ", out.getvalue())
        assert re.search(r"kitchen +online +1 ", out.getvalue())
        assert "2 devices, 2 online" in out.getvalue()
        for publisher in publishers:
            publisher.close()
    out = io.StringIO()
    watch(broker.settings(), duration_s=0.5, stream=out)
    assert "nothing listens there" in out.getvalue()
