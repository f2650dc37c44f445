"""Run MediaPipe's legacy pose solution over the sample clip and keep what it finds; make_golden.py calls this.

Usage: python mediapipe_poses.py CLIP lite|full MODEL.tflite OUT.npz, in an environment that has mediapipe==0.10.21.
Nothing of the project is imported here, so that the data owes nothing to the code it is there to test.
"""

import hashlib
import shutil
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import mediapipe
import numpy as np
from mediapipe.python.solution_base import SolutionBase
from numpy.typing import NDArray

COMPLEXITY = {"lite": 0, "full": 1}
WHOLE_FRAMES = 100
# Parts of the frame (x0, y0, x1, y1 in pixels) for what whole frames leave untested, since they all have somebody in
# view: nobody there, a person who enters or is cut off by the edge, portrait format, a small picture.
REGIONS_PX = ((884, 0, 1768, 994), (0, 497, 884, 994), (450, 40, 850, 540), (0, 0, 560, 400))
FRAMES_PER_REGION = 12
# MediaPipe's One Euro filter ignores a packet stamped 0; its legacy API never gives one (it starts at 33.333 ms).
FIRST_STAMP_US = 1_000_000

Image = NDArray[np.uint8]
Found = dict[str, NDArray[Any]]


def read_clip(path: Path) -> tuple[list[Image], NDArray[np.float64]]:
    """Every frame, RGB uint8 [height, width, 3], and the file's own time stamps in ms."""
    capture = cv2.VideoCapture(str(path))
    images: list[Image] = []
    stamps_ms: list[float] = []
    while True:
        read, bgr = capture.read()
        if not read:
            break
        stamps_ms.append(capture.get(cv2.CAP_PROP_POS_MSEC))
        images.append(np.ascontiguousarray(bgr[:, :, ::-1]))
    if not images:
        sys.exit(f"{path}: no frame could be decoded; a video file was expected.")
    return images, np.asarray(stamps_ms, np.float64)


def put_model_in_place(variant: str, model: Path) -> None:
    """Copy the model to where the legacy API looks for it, inside the installed package."""
    folder = Path(mediapipe.__file__).parent / "modules" / "pose_landmark"
    shutil.copyfile(model, folder / f"pose_landmark_{variant}.tflite")


def found_in(result: Any, landmarks: str, world: str) -> NDArray[np.float32]:
    """[33, 8]: x, y, z, visibility, presence in the normalised frame and x, y, z in metres; NaN if nobody is found."""
    if getattr(result, landmarks) is None:
        return np.full((33, 8), np.nan, np.float32)
    rows = [
        (a.x, a.y, a.z, a.visibility, a.presence, b.x, b.y, b.z)
        for a, b in zip(getattr(result, landmarks).landmark, getattr(result, world).landmark, strict=True)
    ]
    return np.asarray(rows, np.float32)


def points_in(points: Any) -> NDArray[np.float32]:
    """[2, 3]: x, y, z of the two auxiliary landmarks in the normalised frame; NaN if there are none."""
    if points is None:
        return np.full((2, 3), np.nan, np.float32)
    return np.asarray([(point.x, point.y, point.z) for point in points.landmark], np.float32)


def roi_in(rect: Any) -> NDArray[np.float32]:
    """[5]: centre x, y, width, height in the normalised frame and rotation in radians; NaN if there is none."""
    if rect is None:
        return np.full(5, np.nan, np.float32)
    return np.asarray((rect.x_center, rect.y_center, rect.width, rect.height, rect.rotation), np.float32)


def columns(prefix: str, poses: Sequence[NDArray[np.float32]], z_type: type[np.floating[Any]] = np.float16) -> Found:
    """The arrays to keep, NaN where nobody was found. Only positions need float32; float16 is 0.0005 of any value."""
    table = np.stack(poses)
    return {
        f"{prefix}_xy_norm": table[:, :, 0:2],
        f"{prefix}_z_norm": table[:, :, 2].astype(z_type),
        f"{prefix}_visibility": table[:, :, 3].astype(np.float16),
        f"{prefix}_presence": table[:, :, 4].astype(np.float16),
        f"{prefix}_world_m": table[:, :, 5:8].astype(np.float16),
    }


def static_cases(frames: int, width: int, height: int) -> list[tuple[int, tuple[int, int, int, int]]]:
    """(frame, (x0, y0, x1, y1)): which part of which frame is looked at by itself."""
    whole = [(int(n), (0, 0, width, height)) for n in np.linspace(0, frames - 1, WHOLE_FRAMES).round()]
    fewer = [int(n) for n in np.linspace(0, frames - 1, FRAMES_PER_REGION).round()]
    return whole + [(n, region) for region in REGIONS_PX for n in fewer]


def static_mode(images: Sequence[Image], complexity: int) -> Found:
    """Each case by itself: detector, then landmark model; no tracking, no smoothing."""
    height, width = images[0].shape[:2]
    cases = static_cases(len(images), width, height)
    poses = []
    with mediapipe.solutions.pose.Pose(
        static_image_mode=True, model_complexity=complexity, smooth_landmarks=False
    ) as pose:
        for number, (x0, y0, x1, y1) in cases:
            image = np.ascontiguousarray(images[number][y0:y1, x0:x1])
            # Past Pose.process, which would throw the presence away.
            result = SolutionBase.process(pose, {"image": image})
            poses.append(found_in(result, "pose_landmarks", "pose_world_landmarks"))
    return {
        "static_frame": np.asarray([number for number, _ in cases], np.int16),
        "static_region_px": np.asarray([region for _, region in cases], np.int16),
        "static_found": np.isfinite(poses).all(axis=(1, 2)),
        **columns("static", poses),
    }


def video_graph(complexity: int) -> SolutionBase:
    """What Pose(static_image_mode=False, smooth_landmarks=True) runs, with the streams between its stages tapped."""
    landmark_part = "poselandmarkbyroicpu__tensorstoposelandmarksandsegmentation__"
    return SolutionBase(
        binary_graph_path="mediapipe/modules/pose_landmark/pose_landmark_cpu.binarypb",
        side_inputs={
            "model_complexity": complexity,
            "smooth_landmarks": True,
            "enable_segmentation": False,
            "smooth_segmentation": False,
            "use_prev_landmarks": True,
        },
        calculator_params={
            "posedetectioncpu__TensorsToDetectionsCalculator.min_score_thresh": 0.5,
            f"{landmark_part}ThresholdingCalculator.threshold": 0.5,
        },
        outputs=[
            "pose_landmarks",
            "pose_world_landmarks",
            "unfiltered_pose_landmarks",
            "unfiltered_world_landmarks",
            "unfiltered_auxiliary_landmarks",
            "auxiliary_landmarks",
            "pose_rect_from_detection",
            "pose_rect_from_landmarks",
        ],
    )


def video_mode(images: Sequence[Image], stamps_ms: NDArray[np.float64], complexity: int) -> Found:
    """The whole clip in order, tracked and smoothed, each frame with its own time stamp."""
    results = []
    with video_graph(complexity) as graph:
        for image, stamp_ms in zip(images, stamps_ms, strict=True):
            # The legacy API invents stamps, 33,333 us after the last; this makes it arrive at the true one.
            graph._simulated_timestamp = FIRST_STAMP_US + round(stamp_ms * 1000) - 33333
            results.append(graph.process({"image": image}))
    smooth = [found_in(result, "pose_landmarks", "pose_world_landmarks") for result in results]
    raw = [found_in(result, "unfiltered_pose_landmarks", "unfiltered_world_landmarks") for result in results]
    return {
        "video_time_ms": stamps_ms,
        "video_found": np.isfinite(smooth).all(axis=(1, 2)),
        **columns("video", smooth, np.float32),
        **columns("video_raw", raw, np.float32),
        "video_raw_auxiliary_norm": np.stack([points_in(r.unfiltered_auxiliary_landmarks) for r in results]),
        "video_auxiliary_norm": np.stack([points_in(r.auxiliary_landmarks) for r in results]),
        "video_roi_from_detection": np.stack([roi_in(r.pose_rect_from_detection) for r in results]),
        "video_roi_from_landmarks": np.stack([roi_in(r.pose_rect_from_landmarks) for r in results]),
    }


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def facts(clip: Path, model: Path, images: Sequence[Image]) -> Found:
    """What the data was made from and with; the checksums tell whether another decoder gives the same pixels."""
    detector = Path(mediapipe.__file__).parent / "modules" / "pose_detection" / "pose_detection.tflite"
    height, width = images[0].shape[:2]
    return {
        "versions": np.asarray(
            [f"mediapipe {mediapipe.__version__}", f"opencv {cv2.__version__}", f"numpy {np.__version__}"]
        ),
        "clip_sha256": np.asarray(sha256(clip)),
        "landmark_model_sha256": np.asarray(sha256(model)),
        "detector_model_sha256": np.asarray(sha256(detector)),
        "frame_size_px": np.asarray([width, height], np.int16),
        "frame_crc32_rgb": np.asarray([zlib.crc32(image.tobytes()) for image in images], np.uint32),
    }


def main(clip: Path, variant: str, model: Path, out: Path) -> None:
    """Write OUT.npz, or end with a sentence if this is not the environment the data is made in."""
    if mediapipe.__version__ != "0.10.21":
        sys.exit(f"mediapipe {mediapipe.__version__} is installed here; 0.10.21 was expected: run make_golden.py.")
    put_model_in_place(variant, model)
    images, stamps_ms = read_clip(clip)
    data = facts(clip, model, images)
    data |= static_mode(images, COMPLEXITY[variant])
    data |= video_mode(images, stamps_ms, COMPLEXITY[variant])
    np.savez_compressed(out, **data)
    print(
        f"{out.name}: found in {data['static_found'].sum()} of {data['static_found'].size} single images, "
        f"in {data['video_found'].sum()} of {data['video_found'].size} frames of the video"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
