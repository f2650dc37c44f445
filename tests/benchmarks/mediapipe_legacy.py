"""MediaPipe 0.10.21's Pose solution on video, as a contestant. Runs in an environment of its own.

Usage: python mediapipe_legacy.py CLIP STARTED_S VARIANT LANDMARKS.tflite DETECTOR.tflite
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import mediapipe
from worker import Image, serve


class Legacy:
    """See `worker.Engine`."""

    rgb = True

    def __init__(self, variant: str) -> None:
        self._pose = mediapipe.solutions.pose.Pose(model_complexity={"lite": 0, "full": 1}[variant])

    def process(self, frames: Iterator[tuple[Image, float]]) -> int:
        return sum(self._pose.process(image).pose_landmarks is not None for image, _ in frames)

    def bare(self) -> None:
        raise NotImplementedError


def main(clip: str, started_s: str, variant: str, landmarks: str, _detector: str) -> None:
    if clip == "bundle":  # the lite model is not in the wheel
        folder = Path(mediapipe.__file__).parent / "modules" / "pose_landmark"
        shutil.copyfile(landmarks, folder / f"pose_landmark_{variant}.tflite")
        return
    serve(clip, float(started_s), lambda: Legacy(variant))


if __name__ == "__main__":
    main(*sys.argv[1:])
