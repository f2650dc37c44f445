"""MediaPipe 1.2.2's PoseLandmarker over pictures or a clip: what it sees in each. Runs in an environment of its own.

Usage: python mediapipe_people.py image|video VARIANT LANDMARKS.tflite DETECTOR.tflite MAX_PEOPLE OUT.npz PATH...

In `image` every PATH is a picture looked at by itself; in `video` the one PATH is a clip whose frames have its own time
stamps. OUT.npz holds, for each person seen, `frame` (index of the picture or frame), `points` (33 x, y in pixels), `z`
and `visibility`, and for each frame `time_s`.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import mediapipe
import numpy as np
from mediapipe.tasks.python import vision
from mediapipe.tasks.python.core.base_options import BaseOptions
from mediapipe_tasks import write_bundle
from worker import Image


def pictures(paths: list[str]) -> Iterator[tuple[Image, float]]:
    """Each picture, RGB, at time 0."""
    for path in paths:
        yield cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB), 0.0


def frames(path: str) -> Iterator[tuple[Image, float]]:
    """Each frame of a clip, RGB, with its own time."""
    capture = cv2.VideoCapture(path)
    while True:
        more, image = capture.read()
        if not more:
            return
        yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB), capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3


def main(mode: str, variant: str, landmarks: str, detector: str, max_people: str, out: str, *paths: str) -> None:
    """Write OUT.npz."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / f"{variant}.task"
        write_bundle(bundle, Path(landmarks), Path(detector))
        options = vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(bundle)),
            running_mode=vision.RunningMode.IMAGE if mode == "image" else vision.RunningMode.VIDEO,
            num_poses=int(max_people),
        )
        rows: list[tuple[int, list[tuple[float, float, float, float]]]] = []
        times_s = []
        with vision.PoseLandmarker.create_from_options(options) as landmarker:
            for number, (image, time_s) in enumerate(pictures(list(paths)) if mode == "image" else frames(paths[0])):
                picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
                if mode == "image":
                    result = landmarker.detect(picture)
                else:
                    result = landmarker.detect_for_video(picture, round(time_s * 1e3))
                times_s.append(time_s)
                height, width = image.shape[:2]
                rows += [
                    (number, [(p.x * width, p.y * height, p.z * width, p.visibility) for p in pose])
                    for pose in result.pose_landmarks
                ]
    values = np.array([points for _, points in rows], np.float32).reshape(-1, 33, 4)
    np.savez_compressed(
        out,
        frame=np.array([number for number, _ in rows], np.int32),
        points=values[:, :, :2],
        z=values[:, :, 2],
        visibility=values[:, :, 3],
        time_s=np.array(times_s),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
