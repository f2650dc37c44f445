"""Draw skeletons into pictures, and write those: for `predict --draw`, `snapshot` and the demo."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import EdgePoseError, UsageError
from edge.output import write_file
from edge.pose import SKELETON, Frame, Pose

PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png")

# A joint is drawn solid at this visibility, and pale below it.
CLEARLY_VISIBLE = 0.5
# BGR. The side of the person, not of the picture: orange is left, blue right, white the middle.
_LEFT, _RIGHT, _MIDDLE, _ROI = (0, 140, 255), (255, 140, 0), (240, 240, 240), (120, 220, 120)


def upright_bgr(frame: Frame) -> NDArray[np.uint8]:
    """The frame as published, a BGR copy: turned and mirrored, shape (height_px, width_px, 3)."""
    picture = frame.image if frame.color == "BGR" else cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
    picture = np.rot90(picture, k=-frame.orientation.rotate // 90)
    if frame.orientation.mirror:
        picture = picture[:, ::-1]
    return np.array(picture, dtype=np.uint8, order="C")


def draw_poses(picture: NDArray[np.uint8], poses: list[Pose], *, regions: bool = False) -> None:
    """Draw each skeleton into the picture, in place.

    Args:
        picture: shape (H, W, 3), uint8, BGR, in frame px.
        poses: in frame px of the same frame.
        regions: draw the ROI of each person too.
    """
    for pose in poses:
        points = pose.keypoints_px[:, :2]
        size = float(np.ptp(points, axis=0).max())
        width = int(np.clip(size / 150, 1, 8))
        if regions:
            _draw_region(picture, pose, width)
        pale = picture.copy()
        for canvas, clearly in ((pale, False), (picture, True)):
            _draw_skeleton(canvas, pose, width, clearly=clearly)
        hidden = (pose.keypoints_px[:, 3] < CLEARLY_VISIBLE).any()
        if hidden:
            cv2.addWeighted(pale, 0.35, picture, 0.65, 0, dst=picture)


def check_picture_name(path: Path, shown: str) -> None:
    """Make sure that a picture can be written under this name.

    Raises:
        UsageError: it cannot; names the file as `shown`.
    """
    if path.suffix.lower() not in PICTURE_SUFFIXES or path.is_dir():
        raise UsageError(f"{shown}: expected a file's name that ends in .jpg or .png")


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture, all of it or nothing, as a JPEG or PNG by its name.

    Raises:
        EdgePoseError: the disk is full, or the folder cannot be written; or no JPEG can be as large.
    """
    # Not cv2.imwrite: it does not say what went wrong, and a name that is no UTF-8 ends the process.
    try:
        done, data = cv2.imencode(path.suffix.lower(), picture)
    except cv2.error:
        done = False
    if not done:
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        raise EdgePoseError(f"{path}: a picture of {size} cannot be written as {path.suffix}")
    write_file(path, data.tobytes())


def _draw_skeleton(canvas: NDArray[np.uint8], pose: Pose, width: int, *, clearly: bool) -> None:
    points = [(_to_pixel(x), _to_pixel(y)) for x, y in pose.keypoints_px[:, :2]]
    visible = pose.keypoints_px[:, 3] >= CLEARLY_VISIBLE
    for first, second in SKELETON:
        if bool(visible[first] and visible[second]) == clearly:
            color = _side(first) if _side(first) == _side(second) else _MIDDLE
            cv2.line(canvas, points[first], points[second], color, width, cv2.LINE_AA)
    for index, point in enumerate(points):
        if bool(visible[index]) == clearly:
            cv2.circle(canvas, point, width + 1, _side(index), -1, cv2.LINE_AA)


def _draw_region(canvas: NDArray[np.uint8], pose: Pose, width: int) -> None:
    region = pose.roi
    box = ((region.x_px, region.y_px), (region.side_px, region.side_px), float(np.degrees(region.rotation_rad)))
    corners = cv2.boxPoints(box).round().astype(np.int32)
    cv2.polylines(canvas, [corners], isClosed=True, color=_ROI, thickness=width, lineType=cv2.LINE_AA)


def _side(index: int) -> tuple[int, int, int]:
    if index == 0:
        return _MIDDLE
    if index <= 6:  # the eyes: three of the left, three of the right
        return _LEFT if index <= 3 else _RIGHT
    return _LEFT if index % 2 else _RIGHT


def _to_pixel(value: float) -> int:
    # OpenCV's drawing overflows on coordinates far outside; a line to this far looks the same.
    return round(float(np.clip(value, -20_000, 20_000)))
