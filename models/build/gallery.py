"""Pictures of float and int8 skeletons side by side, on the test scene's crops."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.pose import NUM_KEYPOINTS, SKELETON
from models.build import manifest, score
from models.build.runner import Pose

FOLDER = manifest.MODELS_DIR / "docs"
COLUMNS = 4
FLOAT_COLOUR, INT8_COLOUR = (80, 220, 80), (60, 140, 255)  # BGR


def write(variant: str, crops: NDArray[np.uint8], poses: dict[str, list[Pose]]) -> Path:
    """A sheet a model: above, crops spread evenly over all; below, those on which int8 is furthest from float.

    `crops` are RGB [n, 256, 256, 3]; `poses` has "float16" and "int8". In each pair float is left and int8 right.
    """
    exact, quantized = poses["float16"], poses["int8"]
    shown = [k for k, pose in enumerate(exact) if pose.presence > score.PRESENT]
    distance = {k: float(np.abs(exact[k].points - quantized[k].points)[:NUM_KEYPOINTS].mean()) for k in shown}
    ordered = sorted(shown, key=lambda k: distance[k])
    usual = [ordered[i] for i in np.linspace(0, len(ordered) - 1, COLUMNS + 2).astype(int)[1:-1]]
    rows = [
        np.hstack([_pair(crops[k], exact[k], quantized[k]) for k in chosen]) for chosen in (usual, ordered[-COLUMNS:])
    ]
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{variant}-float-int8.jpg"
    cv2.imwrite(str(path), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return path


def _pair(crop: NDArray[np.uint8], exact: Pose, quantized: Pose) -> NDArray[Any]:
    left, right = _drawn(crop, exact, FLOAT_COLOUR), _drawn(crop, quantized, INT8_COLOUR)
    return np.hstack([left, right, np.full((len(crop), 4, 3), 255, np.uint8)])


def _drawn(crop: NDArray[np.uint8], pose: Pose, colour: tuple[int, int, int]) -> NDArray[Any]:
    picture = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
    points = [(round(float(x)), round(float(y))) for x, y in pose.points[:NUM_KEYPOINTS]]
    for a, b in SKELETON:
        cv2.line(picture, points[a], points[b], colour, 2, cv2.LINE_AA)
    return picture
