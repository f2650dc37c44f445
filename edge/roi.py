"""Regions of interest: made from a detection or from landmarks, sampled into a crop, projected back. Pure geometry.

Constants and formulas are those of MediaPipe's pose graphs (Apache-2.0) and the BlazePose paper (arXiv 2006.10204).
"""

import math
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.pose import Detection, Frame, Orientation, Roi

# The rows of an affine map, in plain numbers.
Affine = tuple[tuple[float, float, float], ...]

# The square round the person is this much larger than the circle that the two alignment points describe
# (pose_detection_to_roi and pose_landmarks_to_roi graphs: scale_x = scale_y = 1.25).
ROI_SCALE: Final = 1.25

# Steps in a pixel (x, y, side) and a radian of the grid on which a detection's ROI lies: far finer than a model sees,
# coarser than what two processors' float sums differ by. Without it a Pi crops a picture a few grey levels differently
# from a PC, and of that an integer landmark model makes pixels.
_DETECTION_STEPS: Final = np.array([256.0, 256.0, 256.0, 16384.0])

# See `_to_buffer`. A thousandth is no sum of powers of two, as the offsets of regions are: added to one it makes no
# half.
_STEP_PX: Final = 1 / 1024
_OFF_HALVES_PX: Final = _STEP_PX / 1000
# A region smaller than this is enlarged sixteenfold for the model: no joint can be told from the next.
MIN_SIDE_PX: Final = 16.0
# Of somebody so near that the region is larger than this many frames, nothing is in view that could be followed.
MAX_FRAMES: Final = 4.0
# From one frame to the next a region moves and grows with a person's hips. Further than this it has slid off: half a
# side is two thirds of a body's height, and twice the size is half the distance to the camera.
MAX_STEP_SIDES: Final = 0.5
MAX_GROWTH: Final = 2.0

# Indices into Detection.keypoints_px (detector's keypoints 0 and 1: mid-hip centre, full-body scale point).
_CENTER, _SCALE_POINT = 0, 1


def from_points(center_px: NDArray[np.float32], scale_point_px: NDArray[np.float32]) -> Roi:
    """The ROI from its two alignment points.

    Args:
        center_px: the middle of the hips, shape (2,), frame px.
        scale_point_px: a point on the circle round the whole body, above the head, shape (2,), frame px.

    Returns:
        A square centred on the hips, in which the line from centre to scale point runs straight up.
    """
    dx = float(scale_point_px[0] - center_px[0])
    dy = float(scale_point_px[1] - center_px[1])
    side = 2.0 * math.hypot(dx, dy) * ROI_SCALE
    return Roi(float(center_px[0]), float(center_px[1]), side, wrap_angle(math.pi / 2 - math.atan2(-dy, dx)))


def from_detection(detection: Detection) -> Roi:
    """The ROI of a person whom the detector found, on the grid."""
    exact = from_points(detection.keypoints_px[_CENTER], detection.keypoints_px[_SCALE_POINT])
    values = np.array([exact.x_px, exact.y_px, exact.side_px, exact.rotation_rad])
    return Roi(*(np.rint(values * _DETECTION_STEPS) / _DETECTION_STEPS).tolist())


def from_auxiliary(auxiliary_px: NDArray[np.float32]) -> Roi:
    """The next frame's ROI from this frame's auxiliary landmarks, shape (2, 2), frame px."""
    return from_points(auxiliary_px[0], auxiliary_px[1])


def diameter_px(auxiliary_px: NDArray[np.float32]) -> float:
    """Diameter of the circle round the person that the auxiliary landmarks, shape (2, 2), describe."""
    return 2.0 * float(np.hypot(*(auxiliary_px[1] - auxiliary_px[0])))


def whole_frame(frame: Frame, margin: float = 1.0) -> Roi:
    """The upright square round the whole frame, so many times as large: the detector's letterbox."""
    return Roi(frame.width_px / 2, frame.height_px / 2, margin * max(frame.width_px, frame.height_px), 0.0)


def usable(roi: Roi, width_px: int, height_px: int) -> bool:
    """Whether a person could be seen in the region: finite, of sensible size, and partly inside the frame."""
    if not all(map(math.isfinite, (roi.x_px, roi.y_px, roi.side_px, roi.rotation_rad))):
        return False
    if not MIN_SIDE_PX <= roi.side_px <= MAX_FRAMES * max(width_px, height_px):
        return False
    half = roi.side_px / 2
    return -half < roi.x_px < width_px + half and -half < roi.y_px < height_px + half


def follows(roi: Roi, before: Roi) -> bool:
    """Whether a region can be the same person's as the one a frame before, both usable."""
    larger, smaller = max(roi.side_px, before.side_px), min(roi.side_px, before.side_px)
    apart = math.hypot(roi.x_px - before.x_px, roi.y_px - before.y_px)
    return apart <= MAX_STEP_SIDES * larger and larger <= MAX_GROWTH * smaller


def wrap_angle(angle_rad: float) -> float:
    """The same direction in [-pi, pi); what is no direction stays as it is."""
    if not math.isfinite(angle_rad):
        return angle_rad
    wrapped = angle_rad - 2 * math.pi * math.floor((angle_rad + math.pi) / (2 * math.pi))
    return -math.pi if wrapped >= math.pi else wrapped  # rounding may land on pi itself


def crop_to_frame(roi: Roi, size_px: int) -> Affine:
    """The affine map from crop px of a `size_px` square to frame px, three rows.

    The ROI's corners map to the crop's corners, without a half-pixel shift, as MediaPipe samples.
    """
    scale = roi.side_px / size_px
    cos, sin = math.cos(roi.rotation_rad) * scale, math.sin(roi.rotation_rad) * scale
    half = size_px / 2
    return (cos, -sin, roi.x_px - (cos - sin) * half), (sin, cos, roi.y_px - (sin + cos) * half), (0.0, 0.0, 1.0)


def sample(frame: Frame, roi: Roi, out: NDArray[np.uint8], *, zero_border: bool) -> None:
    """Sample the ROI into `out`, shape (S, S, 3), uint8, as of `warp`."""
    warp(frame, crop_to_frame(roi, out.shape[0]), out, zero_border=zero_border)


def warp(frame: Frame, to_frame: Affine, out: NDArray[np.uint8], *, zero_border: bool = False) -> None:
    """Sample a picture from the frame's buffer: one warp that crops, scales, turns and mirrors at once.

    Bilinear without anti-aliasing, as the models were trained and as MediaPipe does it. The channels stay in the
    buffer's order. A buffer that is turned or mirrored gives the same picture, to the bit: the landmark model is
    sensitive enough to show a grey level.

    Args:
        frame: where to sample from.
        to_frame: the affine map from px of the picture to frame px, three rows.
        out: the picture, written in place, shape (H, W, 3), uint8.
        zero_border: pixels outside the frame are black (the detector's letterbox); otherwise the edge is repeated.
    """
    (xx, xy, x_px), (yx, yy, y_px), _ = to_frame
    # In plain numbers, which takes a third of the time of a product of matrices.
    rows = _to_buffer(frame.orientation, frame.image.shape[1], frame.image.shape[0])
    matrix = np.array([[a * xx + b * yx, a * xy + b * yy, a * x_px + b * y_px + start] for a, b, start in rows])
    cv2.warpAffine(
        frame.image,
        matrix,
        (out.shape[1], out.shape[0]),
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT if zero_border else cv2.BORDER_REPLICATE,
    )


@lru_cache(maxsize=8)
def _to_buffer(orientation: Orientation, width_px: int, height_px: int) -> Affine:
    """The first two rows of the affine map from frame px to buffer px, moved a little for `warpAffine`.

    OpenCV rounds what a pixel's row and its column contribute to 1024ths of a px, adds them, and rounds the sum to
    32nds, halves upwards. Upwards is the other direction along an axis that runs the other way round in the buffer;
    one step less there turns it back. The first rounding must not meet halves for that, which are common where the
    region is upright: they are moved a little.
    """
    rows = orientation.frame_to_buffer(width_px, height_px)[:2].tolist()
    return tuple((a, b, start + (-_STEP_PX - _OFF_HALVES_PX if a + b < 0 else _OFF_HALVES_PX)) for a, b, start in rows)


def project(roi: Roi, points_norm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points of a crop back into the frame.

    Args:
        roi: the crop's ROI.
        points_norm: shape (N, 2), float32, in units of the crop's side: (0, 0) its top left, (1, 1) its bottom right.

    Returns:
        Shape (N, 2), float32, frame px.
    """
    cos, sin = math.cos(roi.rotation_rad) * roi.side_px, math.sin(roi.rotation_rad) * roi.side_px
    # In float64, and rounded once: float32 sums differ in their last digit between processors, and a tracked person's
    # next crop would, too.
    centred = points_norm.astype(np.float64) - 0.5
    turned: NDArray[np.float64] = centred @ np.array([[cos, sin], [-sin, cos]])
    turned += np.array([roi.x_px, roi.y_px])
    return turned.astype(np.float32)


def rotate_about_origin(points: NDArray[np.float32], angle_rad: float) -> NDArray[np.float32]:
    """Points of shape (N, 3) whose x, y are turned clockwise on the screen by the angle; the third axis stays."""
    cos, sin = np.float32(math.cos(angle_rad)), np.float32(math.sin(angle_rad))
    turned = points.copy()
    turned[:, 0] = cos * points[:, 0] - sin * points[:, 1]
    turned[:, 1] = sin * points[:, 0] + cos * points[:, 1]
    return turned
