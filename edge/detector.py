"""The person detector: letterbox, anchors, decoding, weighted non-maximum suppression.

The network is an SSD on BlazeFace's pattern (arXiv 1907.05047); the constants are those of MediaPipe's
pose_detection graph (Apache-2.0).
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge import roi
from edge.logistic import logit, sigmoid
from edge.pose import Detection, Frame, Roi
from edge.runtime import Model

# (cells a side, anchors a cell) of each group of layers: strides 8, 16 and three layers of 32, two anchors each.
ANCHOR_GRID: Final = ((28, 2), (14, 2), (7, 6))
# Boxes that overlap the best one more than this describe the same person (min_suppression_threshold).
MIN_IOU: Final = 0.3
# int8 models give keypoints twice: finely, true up to somewhat beyond this distance, and coarsely, of any distance.
FINE_REACH_PX: Final = 120.0
# Logits are clipped to this before the sigmoid (score_clipping_thresh).
SCORE_CLIP: Final = 100.0


def make_anchors() -> NDArray[np.float32]:
    """Anchor centres in units of the input's side, shape (2254, 2); every anchor's size is 1."""
    layers = []
    for cells, repeats in ANCHOR_GRID:
        centres = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        rows_of_x_y = np.stack([np.tile(centres, cells), np.repeat(centres, cells)], axis=1)
        layers.append(np.repeat(rows_of_x_y, repeats, axis=0))
    return np.concatenate(layers, dtype=np.float32)


def read_boxes(output: Callable[[str], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Each anchor's 12 values as `decode` wants them, shape (N, 12); `output` gives a model's output by name.

    float models have them in one output, int8 models in three, for boxes and keypoints need scales of their own.
    """
    boxes: NDArray[np.float32] = output("boxes")[0]
    if boxes.shape[1] == 12:
        return boxes
    fine, far = output("keypoints")[0], output("keypoints_far")[0]
    keypoints = np.where(np.abs(far) < FINE_REACH_PX, fine, far)
    return np.concatenate([boxes, keypoints], axis=1, dtype=np.float32)


def decode(
    boxes: NDArray[np.float32],
    logits: NDArray[np.float32],
    anchors: NDArray[np.float32],
    size_px: int,
    min_score: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The network's outputs as candidates, best first.

    Args:
        boxes: shape (N, 12), in pixels of the input relative to the anchor: x centre, y centre, width, height, then
            four keypoints (x, y).
        logits: shape (N,).
        anchors: shape (N, 2).
        size_px: the input's side.
        min_score: candidates below are left out.

    Returns:
        Scores, shape (M,), and geometry, shape (M, 12), in units of the input's side: x1, y1, x2, y2, then the four
        keypoints.
    """
    chosen = np.flatnonzero(logits >= logit(min_score))
    clipped = np.clip(logits[chosen], -SCORE_CLIP, SCORE_CLIP)
    scores = sigmoid(clipped)
    order = np.argsort(-scores, kind="stable")
    chosen, scores = chosen[order], scores[order]
    raw = boxes[chosen] / np.float32(size_px)
    anchor = anchors[chosen]
    centre, half = raw[:, :2] + anchor, raw[:, 2:4] / 2
    points = raw[:, 4:] + np.tile(anchor, 4)
    return scores, np.concatenate([centre - half, centre + half, points], axis=1)


def iou(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one box, shape (4,), with others, shape (N, 4); corners x1, y1, x2, y2."""
    overlap = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    intersection = np.prod(np.maximum(overlap, 0), axis=1)
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    union = np.prod(np.maximum(box[2:] - box[:2], 0)) + areas - intersection
    ratio: NDArray[np.float32] = np.where(union > 0, intersection / np.maximum(union, np.float32(1e-12)), 0)
    return ratio.astype(np.float32)


def weighted_nms(scores: NDArray[np.float32], geometry: NDArray[np.float32]) -> list[tuple[float, NDArray[np.float32]]]:
    """Merge the candidates of each person: the average weighted by score, keypoints included.

    Args:
        scores: shape (N,), falling.
        geometry: shape (N, 12), corners and keypoints.

    Returns:
        A (best score, geometry of shape (12,)) for each person, best first.
    """
    people = []
    while len(scores):
        same = iou(geometry[0, :4], geometry[:, :4]) > MIN_IOU
        same[0] = True  # a box of no area overlaps nothing, not even itself
        weights = scores[same].astype(np.float64)  # sums that are the same on every processor
        merged = (weights / weights.sum()) @ geometry[same]
        people.append((float(scores[0]), merged.astype(np.float32)))
        scores, geometry = scores[~same], geometry[~same]
    return people


class Detector:
    """Finds people in a frame, or in a part of it.

    Args:
        model: a detector of the manifest.
        min_score: detections below this score are left out, 0 to 1.
    """

    def __init__(self, model: Model, min_score: float) -> None:
        self._model = model
        self._min_score = min_score
        self._anchors = make_anchors()
        self._crop = np.zeros((model.input_size_px, model.input_size_px, 3), dtype=np.uint8)

    def detect(self, frame: Frame, *squares: Roi) -> list[Detection]:
        """The people in the frame, best first, in frame px.

        Args:
            frame: where to look.
            squares: what of it is shown to the network, one after the other, upright; black where one reaches beyond
                the frame. Without any it is the smallest that holds all of it.
        """
        seen = [one for square in squares or (roi.whole_frame(frame),) for one in self._detect_in(frame, square)]
        return sorted(seen, key=lambda one: -one.score)

    def _detect_in(self, frame: Frame, letterbox: Roi) -> list[Detection]:
        roi.sample(frame, letterbox, self._crop, zero_border=True)
        self._model.set_image(self._crop, frame.color)
        self._model.invoke()
        scores, geometry = decode(
            read_boxes(self._model.output),
            self._model.output("scores").reshape(-1),
            self._anchors,
            self._model.input_size_px,
            self._min_score,
        )
        return [_to_detection(score, merged, letterbox) for score, merged in weighted_nms(scores, geometry)]


def _to_detection(score: float, geometry: NDArray[np.float32], letterbox: Roi) -> Detection:
    points = roi.project(letterbox, geometry.reshape(-1, 2))
    low, high = points[0], points[1]
    return Detection(score, np.concatenate([low, high - low]), points[2:])
