"""Run by test-v4l2 in a guest whose only camera is vivid with its colour bars: formats, time, unplugging."""

import itertools
import logging
import sys
import time
from pathlib import Path

import numpy as np

from edge.camera import open_source
from edge.camera_list import v4l2_cameras
from edge.config import CameraSettings
from edge.errors import SourceError

DRIVER = Path("/sys/bus/platform/drivers/vivid")
# vivid's first picture: white, yellow, cyan, green, magenta, red, blue and black at 75 %, here in BGR.
BARS = [[1, 1, 1], [0, 1, 1], [1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]]


def check(holds: bool, what: str) -> None:
    print(("ok      " if holds else "FAILED  ") + what, flush=True)
    if not holds:
        sys.exit(1)


def formats_and_time() -> None:
    wishes = [
        CameraSettings(source="0"),
        CameraSettings(source="/dev/video0", pixel_format="YUYV"),
        CameraSettings(source="0", width=1280, height=720),
    ]
    for wish in wishes:
        with open_source(wish) as source:
            frames = [next(source) for _ in range(10)]
            age_s = time.monotonic() - frames[-1].available_s
            image = frames[-1].image
            height, width = image.shape[:2]
            row = [image[height * 4 // 5, int((bar + 0.5) * width / 8)] for bar in range(8)]
            check(bool(np.abs(np.array(row) - 191 * np.array(BARS)).max() < 12), f"colours of {source.details}")
            check((width, height) == (wish.width, wish.height), f"size of {source.details}")
            check(0 <= age_s < 5, f"driver's time stamps: the picture is {age_s:.3f} s old")
            rising = all(later.time_s > earlier.time_s for earlier, later in itertools.pairwise(frames))
            check(rising, "time rises")


def in_use() -> None:
    settings = CameraSettings(source="0", pixel_format="YUYV")
    with open_source(settings) as source:
        next(source)
        try:
            open_source(settings)
        except SourceError as error:
            check("in use" in str(error), f"second user is told: {error}")
        else:
            check(holds=False, what="second user is refused")


def unplugging() -> None:
    with open_source(CameraSettings(source="0", pixel_format="YUYV", stall_timeout=2)) as source:
        next(source)
        (DRIVER / "unbind").write_text("vivid.0")
        end_s = time.monotonic() + 6
        while time.monotonic() < end_s:
            source.read(timeout_s=0.5)
        check(source.stalled and not Path("/dev/video0").exists(), "unplugged: stalled")
        (DRIVER / "bind").write_text("vivid.0")
        start_s = time.monotonic()
        check(source.read(timeout_s=20) is not None, f"plugged in: back after {time.monotonic() - start_s:.1f} s")
        check((source.stalls, source.reopened) == (1, 1), "one stall, one recovery")


logging.basicConfig(level=logging.INFO, format="        %(levelname)s %(message)s")
check([camera.source for camera in v4l2_cameras()] == ["/dev/video0"], f"list: {v4l2_cameras()}")
formats_and_time()
in_use()
unplugging()
print("V4L2 check passed", flush=True)
