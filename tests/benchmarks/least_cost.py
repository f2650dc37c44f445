"""What a followed frame costs at least: the model alone, with the warp in front of it, and what is added to that.

    chrt -f 5 taskset -c 1 .venv/bin/python -m tests.benchmarks.least_cost [--variants lite full] [--frames 1000]

Processor time of one thread on the clips of `compare_mediapipe`, one frame at a time, each decoded just before, as a
camera hands it over; the ways take turns. `warp` is OpenCV's alone, `send` adds 3.2 kB to a local socket. `follow` is
all that edge-pose does until the message is made. Development only; needs root for `chrt`, or goes without it.
"""

import argparse
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge import roi
from edge.config_load import load
from edge.estimator import PoseEstimator
from edge.pose import Frame, Roi
from tests.benchmarks.compare_mediapipe import CLIPS
from tests.benchmarks.contestants import clip_file
from tests.benchmarks.worker import Clip

WAYS: Final = ("bare", "warp", "warp and send", "follow")
MESSAGE_BYTES, RECEIVE_BYTES = 3200, 65536


class LeastCost:
    """The ways to spend a frame, on one clip with one model."""

    def __init__(self, clip: Path, variant: str) -> None:
        overrides = {"model.model": variant, "model.threads": 1}
        self._estimator = PoseEstimator(load(overrides=overrides, environment={}).settings)
        self._estimator.warm_up()
        self._clip = Clip(str(clip), rgb=False)
        self._side = self._estimator.landmark_model.input_size_px
        self._crop = np.empty((self._side, self._side, 3), np.uint8)
        self._socket, other = socket.socketpair()
        self._message = os.urandom(MESSAGE_BYTES)
        threading.Thread(target=lambda: all(iter(lambda: other.recv(RECEIVE_BYTES), b"")), daemon=True).start()
        self.spent_ms: dict[str, list[float]] = {way: [] for way in WAYS}

    def run(self, frames: int) -> None:
        """Spend so many frames, the clip again and again."""
        for number in range(frames):
            if self._clip.start_anew(1):
                self._estimator.forget()
            image, time_s = self._clip.read()
            self._spend(WAYS[number % len(WAYS)], Frame(image, time_s, 0.0, 0.0))

    def _spend(self, way: str, frame: Frame) -> None:
        people = self._estimator._tracker.people
        if not people:
            self._estimator.process(frame)
            return
        region = people[0].roi
        work: dict[str, Callable[[], object]] = {
            "bare": self._estimator.landmark_model.invoke,
            "warp": lambda: self._warp_and_invoke(frame, region),
            "warp and send": lambda: (self._warp_and_invoke(frame, region), self._socket.sendall(self._message)),
            "follow": lambda: self._estimator.follow(frame),
        }
        start_s = time.thread_time()
        work[way]()
        self.spent_ms[way].append((time.thread_time() - start_s) * 1e3)

    def _warp_and_invoke(self, frame: Frame, region: Roi) -> None:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        matrix = np.array(roi.crop_to_frame(region, self._side)[:2])
        size = self._side, self._side
        cv2.warpAffine(frame.image, matrix, size, dst=self._crop, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        self._estimator.landmark_model.invoke()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a followed frame costs at least.")
    parser.add_argument("--variants", nargs="+", default=["lite", "full"], choices=["lite", "full"])
    parser.add_argument("--frames", type=int, default=1000, help="of each clip")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    for name in CLIPS:
        for variant in options.variants:
            cost = LeastCost(clip_file(name), variant)
            cost.run(options.frames)
            medians = {way: float(np.median(spent)) for way, spent in cost.spent_ms.items()}
            figures = (f"{way} {value:.2f} ms ({value / medians['bare']:.2f})" for way, value in medians.items())
            print(f"{name} {variant}: " + ", ".join(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
