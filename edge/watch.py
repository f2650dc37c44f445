"""Every device on a broker, live in the terminal."""

import shutil
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TextIO

from edge.config import MqttSettings
from edge.errors import MessageError
from edge.messages import Health, Info, PoseMessage, decode
from edge.mqtt_message import Received
from edge.streams import stdout_is_lost
from edge.subscriber import Subscriber
from edge.topics import OFFLINE

REFRESH_S = 1.0
# Poses from which the rate is counted; none for longer than this means that nobody is in view.
RATE_WINDOW_S = 5.0
TOPICS = ("status", "presence", "count", "health", "info", "pose")
COLUMNS = ("device", "status", "people", "poses/s", "fps", "latency ms", "temp °C", "throttled", "model", "version")
HOME_AND_CLEAR = "\x1b[H\x1b[J"


@dataclass(slots=True)
class Device:
    """What is known of one device; times are of the monotonic clock."""

    status: str = "?"
    count: int | None = None
    poses_s: deque[float] = field(default_factory=deque)
    latency_ms: float | None = None
    health: Health | None = None
    info: Info | None = None
    garbled: int = 0

    def cells(self, name: str, now_s: float) -> list[str]:
        """The device's line of the table, by column."""
        while self.poses_s and now_s - self.poses_s[0] > RATE_WINDOW_S:
            self.poses_s.popleft()
        online = self.status != OFFLINE.decode()
        health = self.health if self.health and online else Health(time=0.0)
        latency_ms = self.latency_ms if self.poses_s else health.latency_ms.p50
        # Counted over the time since the oldest pose of the window, so that a new stream does not look slow at first.
        rate = len(self.poses_s) / max(now_s - self.poses_s[0], 1.0) if self.poses_s else 0.0
        models = [model for model in self.info.models if model.role == "landmarks"] if self.info else []
        model = ", ".join(model.name.removeprefix("pose_landmark_") for model in models)
        return [
            name,
            self.status + (" (paused)" if not health.enabled else ""),
            _shown(self.count if online else None),
            _shown(rate, 1),
            _shown(health.fps if health is self.health else None, 1),
            _shown(latency_ms),
            _shown(health.temperature_c),
            ", ".join(health.throttled) or "no" if health.throttled is not None else "-",
            model or "-",
            self.info.version if self.info else "-",
        ]


def _shown(value: float | None, decimals: int = 0) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


class Fleet:
    """All devices below one base, from the messages that arrive."""

    def __init__(self, base: str) -> None:
        self.devices: dict[str, Device] = {}
        self._prefix = f"{base}/"

    def feed(self, message: Received, now_s: float) -> None:
        """Take a message in. What cannot be read is counted, never raised: anybody may publish anything."""
        name, _, topic = message.topic.removeprefix(self._prefix).rpartition("/")
        if topic not in TOPICS or not name or "/" in name or not message.topic.startswith(self._prefix):
            return
        device = self.devices.setdefault(name, Device())
        try:
            self._take(device, topic, message.payload, now_s)
        except (MessageError, ValueError):
            device.garbled += 1

    @staticmethod
    def _take(device: Device, topic: str, payload: bytes, now_s: float) -> None:
        if topic == "status":
            device.status = payload.decode("ascii")[:20]
            if payload == OFFLINE:
                device.poses_s.clear()
        elif topic == "count":
            device.count = int(payload)
        elif topic == "health":
            device.health = decode(payload, Health)
        elif topic == "info":
            device.info = decode(payload, Info)
        elif topic == "pose":
            device.latency_ms = decode(payload, PoseMessage).latency_ms
            device.poses_s.append(now_s)

    def table(self, now_s: float) -> list[str]:
        """The devices as lines of text, by name, under a line of headings."""
        rows = [list(COLUMNS)]
        rows += [device.cells(_printable(name), now_s) for name, device in sorted(self.devices.items())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        garbled = sum(device.garbled for device in self.devices.values())
        return lines + ([f"{garbled} messages could not be read"] if garbled else [])


def _printable(text: str) -> str:
    """A stranger's text without what would steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)[:40]


def watch(settings: MqttSettings, *, duration_s: float | None = None, stream: TextIO | None = None) -> None:
    """Show every device on a broker until interrupted, or for so long.

    Args:
        settings: broker, base, user name, password file and TLS.
        duration_s: seconds; None is until Ctrl-C.
        stream: where to; a terminal is redrawn, anything else gets one table a second. None is standard output.

    Raises:
        ConfigError: the broker's URL, the password file or a certificate.
    """
    out = stream or sys.stdout
    fleet = Fleet(settings.base)
    filters = [f"{settings.base}/+/{topic}" for topic in TOPICS]
    end_s = None if duration_s is None else time.monotonic() + duration_s
    with Subscriber(settings, filters, limit=20_000) as reader:
        try:
            while (end_s is None or time.monotonic() < end_s) and not stdout_is_lost():
                _collect(reader, fleet)
                _draw(reader, fleet, settings, out)
        except KeyboardInterrupt:
            return


def _collect(reader: Subscriber, fleet: Fleet) -> None:
    """Take in what arrives until it is time to draw."""
    due_s = time.monotonic() + REFRESH_S
    while (remaining_s := due_s - time.monotonic()) > 0:
        message = reader.get(remaining_s)
        if message:
            fleet.feed(message, time.monotonic())


def _draw(reader: Subscriber, fleet: Fleet, settings: MqttSettings, out: TextIO) -> None:
    state = reader.state
    online = sum(device.status == "online" for device in fleet.devices.values())
    head = f"{settings.broker}  {state.phase}  {len(fleet.devices)} devices, {online} online"
    lines = [head, *filter(None, (state.detail, reader.refused)), ""]
    if fleet.devices:
        lines += fleet.table(time.monotonic())
    elif state.phase == "connected":
        lines.append(f"no device has published below {settings.base}/ yet")
    if out.isatty():
        lines = _fitted(lines, *shutil.get_terminal_size())
        out.write(HOME_AND_CLEAR)
    out.write("\n".join(lines) + "\n")
    out.flush()


def _fitted(lines: list[str], columns: int, rows: int) -> list[str]:
    """What fits into a terminal, from the top, with the cursor below it: more would scroll the headings away."""
    shown = max(rows - 1, 2)
    if len(lines) > shown:
        left_out = len(lines) - shown + 1
        lines = [*lines[: shown - 1], f"... {left_out} lines more: the window is too low"]
    return [line[:columns] for line in lines]
