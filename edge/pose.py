"""The nouns: frames, detections, regions of interest and poses, and the coordinate frames they live in.

Coordinate frames
-----------------
* **buffer px**: pixels of the image as the camera delivered it; (0, 0) is the top left pixel, (W - 1, H - 1) the bottom
  right one.
* **frame px**: pixels of the picture as published, after `Orientation` (rotation, then mirroring). The same
  unit; width and height are swapped for 90 and 270 degrees. Everything below is in frame px unless its name
  ends in `_norm`.
* **norm**: frame px divided by the frame's width (x, z) or height (y); 0 to 1 inside the picture. Only messages and
  files use it.
* **crop px**: pixels of a model's square input. `roi.py` converts between crop px and frame px.
* **world**: metres, origin at the midpoint of the hips, axes as the picture's: x right, y down, z away from the camera.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ColorOrder = Literal["BGR", "RGB"]
Degrees = Literal[0, 90, 180, 270]
PoseSource = Literal["detected", "tracked"]

# The 33 landmarks of BlazePose in the model's order (arXiv 2006.10204, figure 3).
KEYPOINT_NAMES: tuple[str, ...] = (
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
)
NUM_KEYPOINTS = len(KEYPOINT_NAMES)

LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 11, 12, 23, 24
# The torso's corners.
TORSO: list[int] = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP]
_OTHER_SIDE = {"left": "right", "right": "left"}
# Each keypoint's counterpart on the other side of the body, in the same order.
MIRRORED: list[int] = [
    KEYPOINT_NAMES.index("_".join(_OTHER_SIDE.get(word, word) for word in name.split("_"))) for name in KEYPOINT_NAMES
]

# Which of the 33 are COCO's 17, in COCO's order.
COCO_KEYPOINTS: tuple[int, ...] = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)

# Pairs of keypoints that are joined by a line when a skeleton is drawn.
SKELETON: tuple[tuple[int, int], ...] = (
    *((0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10)),
    *((11, 12), (11, 23), (12, 24), (23, 24)),
    *((11, 13), (13, 15), (15, 17), (15, 19), (15, 21), (17, 19)),
    *((12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20)),
    *((23, 25), (25, 27), (27, 29), (29, 31), (27, 31)),
    *((24, 26), (26, 28), (28, 30), (30, 32), (28, 32)),
)


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a camera's picture is turned before anything is published.

    Attributes:
        rotate: degrees clockwise by which the buffer is turned.
        mirror: whether left and right are then swapped.
    """

    rotate: Degrees = 0
    mirror: bool = False

    def size_px(self, buffer_width_px: int, buffer_height_px: int) -> tuple[int, int]:
        """Width and height of the published frame for a buffer of the given size."""
        if self.rotate in (90, 270):
            return buffer_height_px, buffer_width_px
        return buffer_width_px, buffer_height_px

    def frame_to_buffer(self, buffer_width_px: int, buffer_height_px: int) -> NDArray[np.float64]:
        """The affine map from frame px to buffer px, shape (3, 3), so that turning a picture costs no pixel copy."""
        right, bottom = buffer_width_px - 1.0, buffer_height_px - 1.0
        turned = {
            0: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
            90: [[0, 1, 0], [-1, 0, bottom], [0, 0, 1]],
            180: [[-1, 0, right], [0, -1, bottom], [0, 0, 1]],
            270: [[0, -1, right], [1, 0, 0], [0, 0, 1]],
        }[self.rotate]
        matrix = np.array(turned, dtype=np.float64)
        if self.mirror:
            frame_right = self.size_px(buffer_width_px, buffer_height_px)[0] - 1.0
            matrix = matrix @ np.array([[-1, 0, frame_right], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
        return matrix


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from a source.

    Attributes:
        image: the buffer, shape (H, W, 3), uint8, in buffer px. Read only; a source may reuse it after the next frame.
        time_s: capture time in seconds on the source's own clock, strictly increasing within a run: a file's time
            stamp, a sensor's time stamp, or the monotonic clock when the driver handed the frame over. Smoothing uses
            it.
        epoch_s: capture time as seconds since 1970, as published.
        available_s: `time.monotonic()` of the capture (live source) or of the moment the frame was decoded (file).
            Latency and age are counted from it.
        number: position in the source, counted from 0; a gap means frames that were dropped unseen.
        color: order of the three channels.
        orientation: how the buffer is turned to become the frame.
    """

    image: NDArray[np.uint8]
    time_s: float
    epoch_s: float
    available_s: float
    number: int = 0
    color: ColorOrder = "BGR"
    orientation: Orientation = field(default_factory=Orientation)

    @property
    def width_px(self) -> int:
        """Width of the published frame."""
        return self.orientation.size_px(self.image.shape[1], self.image.shape[0])[0]

    @property
    def height_px(self) -> int:
        """Height of the published frame."""
        return self.orientation.size_px(self.image.shape[1], self.image.shape[0])[1]


@dataclass(frozen=True, slots=True)
class Detection:
    """A person as the detector saw it, in frame px.

    Attributes:
        score: 0 to 1.
        box_px: x, y, width, height; shape (4,), float32. The detector boxes head and shoulders, not the whole body.
        keypoints_px: shape (4, 2), float32: mid-hip centre, full-body scale point, mid-shoulder centre, upper-body
            scale point.
    """

    score: float
    box_px: NDArray[np.float32]
    keypoints_px: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Roi:
    """A rotated square in frame px in which one person stands upright.

    Attributes:
        x_px, y_px: the centre.
        side_px: length of a side.
        rotation_rad: how far the square is turned clockwise on the screen (y points down), in [-pi, pi).
    """

    x_px: float
    y_px: float
    side_px: float
    rotation_rad: float


@dataclass(frozen=True, slots=True)
class Clothes:
    """What one look shows of what somebody wears.

    Attributes:
        colours: of the upper and the lower half of the torso: half the brightness, red against green, yellow against
            blue; shape (2, 3), float64, grey levels.
        from_front: whether the person is seen from the front.
    """

    colours: NDArray[np.float64]
    from_front: bool


@dataclass(frozen=True, slots=True)
class Landmarks:
    """What the landmark model says about one ROI, in frame px.

    Attributes:
        presence: the model's own opinion whether the ROI holds a person, 0 to 1. It is sure of much that is none.
        person: a logit: how much like a person the ROI's content looks to the head that edge-pose adds to the model;
            0 is the mean of what that was fitted on, and what a model without the head has.
        peaks: the heatmap's highest confidence of each landmark, shape (33,), float32, 0 to 1. With `person` the better
            judge, see `evidence`.
        keypoints_px: shape (33, 5), float32: x, y, z in frame px (z on the scale of x, origin between the hips, less
            is nearer), visibility and presence of the joint as probabilities.
        auxiliary_px: shape (2, 2), float32: the two landmarks from which the next frame's ROI is made (mid-hip
            centre, full-body scale point).
        world_m: shape (33, 3), float32, or None if it was not asked for.
        clothes: what the person wears, or None if it was not asked for or the torso is not all in the frame.
    """

    presence: float
    person: float
    peaks: NDArray[np.float32]
    keypoints_px: NDArray[np.float32]
    auxiliary_px: NDArray[np.float32]
    world_m: NDArray[np.float32] | None
    clothes: Clothes | None = None


@dataclass(frozen=True, slots=True)
class Pose:
    """One person in one frame, as published, in frame px.

    Attributes:
        id: stays the same while the person is followed; not used again soon after.
        score: probability that this is a person, 0 to 1, as `evidence` measures it.
        source: whether this frame's ROI came from the detector or from the frame before.
        keypoints_px: shape (33, 5), float32, as in `Landmarks`, smoothed if smoothing is on.
        world_m: shape (33, 3), float32, metres, or None.
        roi: where the landmark model looked.
        raw_px: the keypoints before smoothing, shape (33, 5), or None if that is not known.
    """

    id: int
    score: float
    source: PoseSource
    keypoints_px: NDArray[np.float32]
    world_m: NDArray[np.float32] | None
    roi: Roi
    raw_px: NDArray[np.float32] | None = None

    def box_px(self) -> tuple[float, float, float, float]:
        """The upright box round all 33 keypoints: x, y, width, height in frame px; it may reach outside the frame."""
        low = self.keypoints_px[:, :2].min(axis=0)
        high = self.keypoints_px[:, :2].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])
