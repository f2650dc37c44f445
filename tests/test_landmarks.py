import numpy as np
import pytest
from conftest import frame, settings
from hypothesis import given
from hypothesis import strategies as st

from edge import landmarks, roi
from edge.estimator import PoseEstimator
from edge.logistic import logit, sigmoid


def refine_by_definition(point, heatmap):
    """The refinement in words, one landmark and one cell at a time."""
    column, row = int(point[0] * 64), int(point[1] * 64)
    if not (0 <= column < 64 and 0 <= row < 64):
        return point
    total = x = y = peak = 0.0
    for r in range(max(0, row - 4), min(64, row + 5)):
        for c in range(max(0, column - 4), min(64, column + 5)):
            confidence = 1 / (1 + np.exp(-np.float64(heatmap[r, c])))
            total, x, y, peak = total + confidence, x + confidence * c, y + confidence * r, max(peak, confidence)
    return (x / total / 64, y / total / 64) if peak >= 0.5 else point


def refined(points, heatmap):
    """All 35 landmarks, the first few of them given, on one heatmap for all."""
    every = np.full((35, 2), 0.5, np.float32)
    every[: len(points)] = points
    stacked = np.repeat(heatmap[:, :, None], 39, axis=2)
    return landmarks.refine(every, lambda elements: sigmoid(stacked.ravel()[elements]))


@given(st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), st.integers(0, 2**32 - 1), st.floats(-6, 6))
def test_refinement_against_its_definition(point, seed, level):
    heatmap = np.random.default_rng(seed).normal(level, 2, (64, 64)).astype(np.float32)
    points = np.float32([point])
    expected = refine_by_definition(np.float32(point), heatmap)
    assert refined(points, heatmap)[0] == pytest.approx(expected, abs=1e-4)


def test_a_single_hot_cell_pulls_the_landmark_to_it():
    heatmap = np.full((64, 64), -100, np.float32)
    heatmap[33, 30] = 5
    points = np.float32([[32.7 / 64, 32.2 / 64]])
    assert refined(points, heatmap)[0] * 64 == pytest.approx([30, 33], abs=1e-3)


def test_sigmoid_at_its_ends():
    assert sigmoid(np.float32([-500, 0, 500])) == pytest.approx([0, 0.5, 1])
    assert [logit(p) for p in (0.0, 0.5, 1.0)] == [-np.inf, 0, np.inf]
    assert sigmoid(np.float32([logit(0.2)])) == pytest.approx([0.2])


def test_landmarks_follow_the_region_back_into_the_frame(clip_frames):
    estimator = PoseEstimator(settings(model__precision="float16", pipeline__world=True))
    picture = frame(clip_frames[20])
    region = roi.from_detection(estimator._detector.detect(picture)[0])
    estimator._landmarks.load(picture, region)
    found = estimator._landmarks.infer(region)
    assert found.presence > 0.9
    assert found.keypoints_px.shape == (33, 5)
    assert found.keypoints_px.dtype == np.float32
    hips = found.keypoints_px[[23, 24], :2].mean(axis=0)
    assert found.auxiliary_px[0] == pytest.approx(hips, abs=region.side_px * 0.05)
    shoulders = found.keypoints_px[[11, 12], :2].mean(axis=0)
    assert shoulders[1] < hips[1]  # the person stands
    assert found.world_m is not None
    assert np.abs(found.world_m[[23, 24]].mean(axis=0)).max() < 0.05  # the origin lies between the hips
    assert found.world_m[[11, 12], 1].mean() < -0.3  # shoulders are above hips by a torso
