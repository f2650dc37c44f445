"""A device without a camera: publishes poses and changes of presence, and reports how it fared. Run as a program.

python tests/simulated_device.py BROKER SECONDS [SETTINGS_AS_JSON]
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from edge.config import MqttSettings
from edge.messages import Info
from edge.publisher import Publisher

FPS = 30
PRESENCE_EVERY_S = 0.5
# A payload as long as one person's.
PAYLOAD = b'{"schema":1,"seq":%d,"filler":"' + b"x" * 1250 + b'"}'


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def run(url: str, seconds: float, values: dict[str, Any]) -> dict[str, Any]:
    given = {"broker": url, "device_name": "kitchen", "keepalive": 5, **values}
    publisher = Publisher(msgspec.convert(given, MqttSettings), Info(device="kitchen"))
    publisher.start()
    report: dict[str, Any] = {"changes": [], "fps": [], "slowest_ms": 0.0, "rss_mb": [], "states": []}
    started = time.monotonic()
    frames = last_frames = 0
    change_due, second_due = 0.0, 1.0
    while (now := time.monotonic() - started) < seconds:
        before = time.perf_counter()
        publisher.publish_pose(PAYLOAD % frames)
        if now >= change_due:
            change_due += PRESENCE_EVERY_S
            change = (round(time.time(), 3), len(report["changes"]) % 2 == 0)
            report["changes"].append(change)
            publisher.publish_presence(change[1], change[0])
        report["slowest_ms"] = max(report["slowest_ms"], (time.perf_counter() - before) * 1e3)
        frames += 1
        state = publisher.state
        if not report["states"] or report["states"][-1][1:] != [state.phase, state.detail]:
            report["states"].append([time.time(), state.phase, state.detail])
        if now >= second_due:
            second_due += 1.0
            report["fps"].append(frames - last_frames)
            report["rss_mb"].append(rss_mb())
            last_frames = frames
        time.sleep(max(frames / FPS - (time.monotonic() - started), 0))
    started_closing = time.monotonic()
    publisher.close()
    report["close_s"] = time.monotonic() - started_closing
    report["reconnects"] = publisher.reconnects
    report["poses_dropped"] = publisher.poses_dropped
    return report


if __name__ == "__main__":
    extra = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    print(json.dumps(run(sys.argv[1], float(sys.argv[2]), extra)))
