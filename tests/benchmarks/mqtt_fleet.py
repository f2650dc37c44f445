"""Many devices against one mosquitto: does every message arrive, and what does publishing cost?

    python tests/benchmarks/mqtt_fleet.py [--devices 50] [--fps 15] [--seconds 20] [--json FILE]

All devices live in this process, each with a publisher (a connection and a thread) of its own; a mosquitto_sub counts
what arrives. The CPU figure is this process's: making each message from a pose, encoding and sending it.
"""

import argparse
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from brokers import Mosquitto, eventually
from wire import sample_frame, sample_pose

from edge.messages import Info, encode, pose_message
from edge.publisher import Publisher


def measure(count: int, fps: float, seconds: float) -> dict[str, Any]:
    """Publish from so many devices, evenly spread in time; returns the figures."""
    names = [f"device{number:02d}" for number in range(count)]
    with tempfile.TemporaryDirectory() as directory, Mosquitto(Path(directory) / "broker") as broker:
        arrived = Path(directory) / "arrived"
        command = ["mosquitto_sub", "-p", str(broker.port), "-t", "edge-pose/+/pose", "-F", "%t %l"]
        with arrived.open("wb") as out, subprocess.Popen(command, stdout=out) as subscriber:
            publishers = [
                Publisher(broker.settings(device_name=name, keepalive=5), Info(device=name)) for name in names
            ]
            for publisher in publishers:
                publisher.start()
            assert eventually(lambda: all(publisher.state.phase == "connected" for publisher in publishers), 30)
            idle = cpu_of(lambda: time.sleep(2)) / 2
            late_ms: list[float] = []
            busy = cpu_of(lambda: publish(publishers, names, fps, seconds, late_ms)) / seconds
            time.sleep(1)
            for publisher in publishers:
                publisher.close()
            subscriber.terminate()
        lines = arrived.read_text().splitlines()
    per_device = Counter(line.split("/")[1] for line in lines)
    sent = round(fps * seconds)
    return {
        "devices": count,
        "fps": fps,
        "seconds": seconds,
        "bytes_per_message": int(lines[0].split()[1]),
        "sent_per_device": sent,
        "arrived_per_device_min": min(per_device[name] for name in names),
        "arrived_share": round(sum(per_device.values()) / (sent * count), 5),
        "dropped_by_publishers": sum(publisher.poses_dropped for publisher in publishers),
        "cpu_percent_of_a_core_per_device": round(100 * (busy - idle) / count, 3),
        "cpu_ms_per_message": round(1e3 * (busy - idle) / (count * fps), 3),
        "cpu_percent_idle_per_device": round(100 * idle / count, 3),
        "loop_late_ms_p99": round(sorted(late_ms)[int(len(late_ms) * 0.99)], 1),
        "machine": f"{platform.machine()}, {cpu_model()}",
        "versions": f"Python {platform.python_version()}, paho-mqtt {importlib.metadata.version('paho-mqtt')}",
    }


def cpu_of(work: Any) -> float:
    """CPU seconds of this process, all threads, while something is done."""
    before = time.process_time()
    work()
    return time.process_time() - before


def publish(publishers: list[Publisher], names: list[str], fps: float, seconds: float, late_ms: list[float]) -> None:
    """Every device publishes at `fps`; the devices take turns within a period."""
    frame, pose = sample_frame(), sample_pose()
    step_s = 1 / (fps * len(publishers))
    started = time.monotonic()
    for number in range(round(fps * seconds) * len(publishers)):
        wait_s = started + number * step_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        late_ms.append(max(-wait_s, 0.0) * 1e3)
        seq, device = divmod(number, len(publishers))
        publishers[device].publish_pose(encode(pose_message(names[device], seq, frame, [pose], 50.0)))


def cpu_model() -> str:
    """The processor's name as Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.devices, options.fps, options.seconds)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
