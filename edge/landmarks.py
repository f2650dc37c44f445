"""The landmark model: a crop of one person in, 33 landmarks out, refined by the model's own heatmap.

Decoding follows MediaPipe's pose_landmark graphs (Apache-2.0): tensors_to_pose_landmarks_and_segmentation and
RefineLandmarksFromHeatmapCalculator.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge import roi
from edge.clothes import look_at
from edge.logistic import sigmoid
from edge.pose import NUM_KEYPOINTS, TORSO, Clothes, ColorOrder, Frame, Landmarks, Roi
from edge.runtime import Model

# The model has 39 landmarks of x, y, z, visibility logit, presence logit; 33 and 34 are auxiliary, the rest unused.
MODEL_LANDMARKS: Final = 39
USED_LANDMARKS: Final = NUM_KEYPOINTS + 2
# The heatmap is 64 cells a side, for every variant of the model.
HEATMAP_SIZE: Final = 64
# Refinement looks at this many heatmap cells to each side: kernel_size 9, as the graph inside MediaPipe 0.10.21 has
# it. With 7, the calculator's default, landmarks are .0049 torso (lite, median) from MediaPipe's; with 9, .0002.
HEATMAP_REACH: Final = 4
# It needs a peak of this confidence (min_confidence_to_refine).
MIN_PEAK_CONFIDENCE: Final = 0.5

_REACH = np.arange(-HEATMAP_REACH, HEATMAP_REACH + 1)
_WINDOW = len(_REACH)
# The window's columns and rows relative to its middle, shape (81,).
_COLUMNS, _ROWS = np.tile(_REACH, _WINDOW), np.repeat(_REACH, _WINDOW)
# From the middle of a window to each of its elements in the flattened heatmap, a row a landmark, shape (35, 81).
_OFFSETS = (_ROWS * HEATMAP_SIZE + _COLUMNS) * MODEL_LANDMARKS + np.arange(USED_LANDMARKS)[:, None]
# From a cell's column and row to its place in the flattened heatmap.
_PLACE = np.array([MODEL_LANDMARKS, HEATMAP_SIZE * MODEL_LANDMARKS])
# Multiplied with a window's confidences: their sum, and their first moments along x and y, shape (81, 3). In float64:
# its sums, rounded to float32 in the end, are the same on every processor.
_MOMENTS = np.stack([np.ones(_WINDOW**2), _COLUMNS, _ROWS], axis=1)


def refine(
    points_norm: NDArray[np.float32], read_confidences: Callable[[NDArray[np.intp]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Each landmark moved to the centre of mass of the heatmap round it, where that has a clear peak.

    Args:
        points_norm: shape (35, 2), in units of the crop's side.
        read_confidences: gives elements of the flattened (64, 64, 39) heatmap, as probabilities.

    Returns:
        Shape (35, 2), in units of the crop's side.
    """
    own_cells = (points_norm * np.float32(HEATMAP_SIZE)).astype(np.intp)  # truncates towards zero, as the graph does
    elements = (own_cells @ _PLACE)[:, None] + _OFFSETS
    lowest, highest = np.minimum.reduce(own_cells, axis=None), np.maximum.reduce(own_cells, axis=None)
    at_edge = lowest < HEATMAP_REACH or highest >= HEATMAP_SIZE - HEATMAP_REACH
    if at_edge:  # seldom: a joint at the border of the crop or outside of it
        exists = _existing(own_cells)
        confidences = read_confidences(np.where(exists, elements, 0)) * exists
    else:
        confidences = read_confidences(elements)
    moments = confidences @ _MOMENTS
    clear = np.maximum.reduce(confidences, axis=1, keepdims=True) >= MIN_PEAK_CONFIDENCE
    total = np.maximum(moments[:, :1], 1e-12)
    centre = (own_cells + moments[:, 1:] / total) * (1.0 / HEATMAP_SIZE)
    refined: NDArray[np.float32] = np.where(clear, centre, points_norm).astype(np.float32)
    return refined


def _existing(own_cells: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which cells of each window lie inside the heatmap, shape (35, 81); none for a landmark that lies outside."""
    columns, rows = own_cells[:, :1] + _COLUMNS, own_cells[:, 1:] + _ROWS
    inside = ((own_cells >= 0) & (own_cells < HEATMAP_SIZE)).all(axis=1, keepdims=True)
    found: NDArray[np.bool_] = inside & (columns >= 0) & (columns < HEATMAP_SIZE) & (rows >= 0) & (rows < HEATMAP_SIZE)
    return found


class LandmarkModel:
    """Finds the 33 landmarks of the person in an ROI: first `load` the crop, then `infer`.

    Args:
        model: a landmark model of the manifest.
        world: whether world coordinates are wanted.
        clothes: whether it is wanted what people wear.
    """

    def __init__(self, model: Model, *, world: bool, clothes: bool = False) -> None:
        self._model = model
        self._world = world
        self._wants_clothes = clothes
        self._color: ColorOrder = "BGR"
        self._frame_px = 0, 0
        self._crop = np.zeros((model.input_size_px, model.input_size_px, 3), dtype=np.uint8)
        # The float models have all five values in one output; integer ones need a scale for each unit.
        self._joined = model.has_output("landmarks")
        self._judges = model.has_output("person")
        self._read_confidences = model.reader("heatmap", sigmoid)

    def load(self, frame: Frame, region: Roi) -> None:
        """Sample the region into the model's input."""
        roi.sample(frame, region, self._crop, zero_border=False)
        self._model.set_image(self._crop, frame.color)
        if self._wants_clothes:
            self._color, self._frame_px = frame.color, (frame.width_px, frame.height_px)

    def infer(self, region: Roi) -> Landmarks:
        """The landmarks of the person in the region that was loaded, in frame px.

        Whether there is a person at all: `presence`.
        """
        self._model.invoke()
        raw = self._read_landmarks()
        raw[:, :3] *= np.float32(1 / self._model.input_size_px)
        # Only the windows that refinement needs are read from the heatmap, a fortieth of it.
        refined = refine(raw[:, :2], self._read_confidences)
        points = roi.project(region, refined)
        keypoints = raw[:NUM_KEYPOINTS]
        keypoints[:, :2] = points[:NUM_KEYPOINTS]
        keypoints[:, 2] *= np.float32(region.side_px)
        keypoints[:, 3:] = sigmoid(keypoints[:, 3:])
        presence = float(self._model.output("presence").reshape(-1)[0])
        peaks = sigmoid(self._model.highest("heatmap")[:NUM_KEYPOINTS])
        auxiliary = points[NUM_KEYPOINTS:]
        world, clothes = self._read_world(region), self._clothes(refined, points)
        return Landmarks(presence, self._read_person(), peaks, keypoints, auxiliary, world, clothes)

    def _read_landmarks(self) -> NDArray[np.float32]:
        """x, y, z in crop px, visibility and presence logit of each landmark, shape (35, 5)."""
        if self._joined:
            return self._model.output("landmarks").reshape(MODEL_LANDMARKS, 5)[:USED_LANDMARKS]
        raw = np.empty((USED_LANDMARKS, 5), dtype=np.float32)
        raw[:, :2] = self._model.output("landmarks_xy").reshape(MODEL_LANDMARKS, 2)[:USED_LANDMARKS]
        for column, name in ((2, "landmarks_z"), (3, "visibility"), (4, "landmark_presence")):
            raw[:, column] = self._model.output(name).reshape(-1)[:USED_LANDMARKS]
        return raw

    def _clothes(self, points_norm: NDArray[np.float32], points_px: NDArray[np.float32]) -> Clothes | None:
        if not self._wants_clothes:
            return None
        torso_px = points_px[TORSO]
        if not ((torso_px >= 0) & (torso_px <= self._frame_px)).all():
            return None  # what is outside of the frame is its edge's colour
        return look_at(self._crop, self._color, points_norm)

    def _read_person(self) -> float:
        return float(self._model.output("person").reshape(-1)[0]) if self._judges else 0.0

    def _read_world(self, region: Roi) -> NDArray[np.float32] | None:
        if not self._world:
            return None
        world = self._model.output("world").reshape(MODEL_LANDMARKS, 3)[:NUM_KEYPOINTS]
        return roi.rotate_about_origin(world, region.rotation_rad)
