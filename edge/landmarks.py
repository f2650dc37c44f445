"""The landmark model: a crop of one person in, 33 landmarks out, refined by the model's own heatmap.

Decoding follows MediaPipe's pose_landmark graphs (Apache-2.0): tensors_to_pose_landmarks_and_segmentation and
RefineLandmarksFromHeatmapCalculator.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge import roi
from edge.logistic import sigmoid
from edge.pose import NUM_KEYPOINTS, Frame, Landmarks, Roi
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

_WINDOW = np.arange(-HEATMAP_REACH, HEATMAP_REACH + 1)


def refine(points_norm: NDArray[np.float32], windows: NDArray[np.float32], inside: NDArray[np.bool_]) -> None:
    """Move each landmark to the centre of mass of the heatmap round it, in place.

    Args:
        points_norm: shape (N, 2), in units of the crop's side; rows of landmarks without a clear peak stay.
        windows: confidence of the cells in `window_cells`, shape (N, 9, 9), 0 outside the heatmap.
        inside: shape (N,), whether the landmark's own cell lies inside the heatmap.
    """
    refined = inside & (windows.max(axis=(1, 2)) >= MIN_PEAK_CONFIDENCE)
    total = np.maximum(windows.sum(axis=(1, 2)), np.float32(1e-12))
    cells = np.trunc(points_norm * HEATMAP_SIZE)
    offset_x = (windows.sum(axis=1) @ _WINDOW) / total
    offset_y = (windows.sum(axis=2) @ _WINDOW) / total
    moved = (cells + np.stack([offset_x, offset_y], axis=1)) / HEATMAP_SIZE
    points_norm[refined] = moved[refined].astype(np.float32)


def window_cells(
    points_norm: NDArray[np.float32],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which heatmap cells surround each landmark.

    Args:
        points_norm: shape (N, 2), in units of the crop's side.

    Returns:
        Rows, shape (N, 9, 1), and columns, shape (N, 1, 9), clipped to the heatmap; which of the 9x9 cells exist,
        shape (N, 9, 9); which landmarks lie inside the heatmap, shape (N,).
    """
    cells = np.trunc(points_norm * HEATMAP_SIZE)
    inside = ((cells >= 0) & (cells < HEATMAP_SIZE)).all(axis=1)
    cells = np.where(inside[:, None], cells, 0).astype(np.intp)
    rows, columns = cells[:, 1, None] + _WINDOW, cells[:, 0, None] + _WINDOW
    exists_row, exists_column = (rows >= 0) & (rows < HEATMAP_SIZE), (columns >= 0) & (columns < HEATMAP_SIZE)
    return (
        np.clip(rows, 0, HEATMAP_SIZE - 1)[:, :, None],
        np.clip(columns, 0, HEATMAP_SIZE - 1)[:, None, :],
        exists_row[:, :, None] & exists_column[:, None, :],
        inside,
    )


class LandmarkModel:
    """Finds the 33 landmarks of the person in an ROI.

    Args:
        model: a landmark model of the manifest.
        world: whether world coordinates are wanted.
    """

    def __init__(self, model: Model, *, world: bool) -> None:
        self._model = model
        self._world = world
        self._crop = np.zeros((model.input_size_px, model.input_size_px, 3), dtype=np.uint8)
        self._channels = np.arange(USED_LANDMARKS)[:, None, None]

    def find(self, frame: Frame, region: Roi) -> Landmarks:
        """The landmarks of the person in the region, in frame px. Whether there is a person at all: `presence`."""
        roi.sample(frame, region, self._crop, zero_border=False)
        self._model.set_image(self._crop, frame.color)
        self._model.invoke()
        raw = self._model.output("landmarks").reshape(MODEL_LANDMARKS, 5)[:USED_LANDMARKS]
        position = raw[:, :3] / np.float32(self._model.input_size_px)
        self._refine(position)
        keypoints = np.empty((NUM_KEYPOINTS, 5), dtype=np.float32)
        points = roi.project(region, position[:, :2])
        keypoints[:, :2] = points[:NUM_KEYPOINTS]
        keypoints[:, 2] = position[:NUM_KEYPOINTS, 2] * np.float32(region.side_px)
        keypoints[:, 3:] = sigmoid(raw[:NUM_KEYPOINTS, 3:])
        presence = float(self._model.output("presence").reshape(-1)[0])
        return Landmarks(presence, keypoints, points[NUM_KEYPOINTS:], self._read_world(region))

    def _refine(self, position_norm: NDArray[np.float32]) -> None:
        rows, columns, exists, inside = window_cells(position_norm[:, :2])
        logits = self._model.output_at("heatmap", (0, rows, columns, self._channels))
        refine(position_norm[:, :2], np.where(exists, sigmoid(logits), 0).astype(np.float32), inside)

    def _read_world(self, region: Roi) -> NDArray[np.float32] | None:
        if not self._world:
            return None
        world = self._model.output("world").reshape(MODEL_LANDMARKS, 3)[:NUM_KEYPOINTS]
        return roi.rotate_about_origin(world, region.rotation_rad)
