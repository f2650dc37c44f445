"""Ours against MediaPipe 0.10.21 as shipped, on its own answers in tests/golden."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import frame, read_clip, settings

from edge.estimator import PoseEstimator
from edge.manifest import ModelStore

GOLDEN = Path(__file__).parent / "golden"
# MediaPipe saw the clip in BT.709's colours.
pytestmark = pytest.mark.skipif(
    cv2.__version__.startswith(("4.11.", "4.12.")), reason=f"OpenCV {cv2.__version__} decodes the clip in other colours"
)


@pytest.fixture(scope="module", params=["lite", "full"])
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def golden(variant):
    return dict(np.load(GOLDEN / f"mediapipe-0.10.21-{variant}.npz"))


def test_the_clip_is_decoded_as_it_was_for_mediapipe(clip, golden):
    checksums = [zlib.crc32(np.ascontiguousarray(image[:, :, ::-1]).tobytes()) for image in read_clip(clip)]
    assert checksums == golden["frame_crc32_rgb"].tolist()


def torso_px(points):
    return np.linalg.norm(points[[11, 12]].mean(axis=0) - points[[23, 24]].mean(axis=0))


def distances(poses, expected_norm, image):
    """Distance of each joint to MediaPipe's, in units of MediaPipe's torso."""
    expected_px = expected_norm * (image.shape[1], image.shape[0])
    return np.linalg.norm(poses[0].keypoints_px[:, :2] - expected_px, axis=1) / torso_px(expected_px)


def estimator_for(variant, precision, smoothing):
    """`int8` is what runs by default."""
    chosen = settings(
        model__model=variant,
        model__precision="auto" if precision == "int8" else precision,
        smoothing__mode=smoothing,
        tracker__idle_fps=0,
        tracker__acquisition="single",
    )
    return PoseEstimator(chosen)


def compare_static(clip, golden, variant, precision):
    """Each picture by itself: how many are found alike, and the distances where both find somebody."""
    estimator = estimator_for(variant, precision, "off")
    same, apart = 0, []
    for number, whole in enumerate(read_clip(clip)):
        for index in np.flatnonzero(golden["static_frame"] == number):
            left, top, right, bottom = golden["static_region_px"][index]
            image = np.ascontiguousarray(whole[top:bottom, left:right])
            estimator.forget()
            poses = estimator.process(frame(image)).poses
            found = bool(golden["static_found"][index])
            same += bool(poses) == found
            if poses and found:
                apart.append(distances(poses, golden["static_xy_norm"][index], image))
    assert len(apart) > 50
    return same, apart


def test_each_frame_by_itself(clip, golden, variant):
    same, apart = compare_static(clip, golden, variant, "float16")
    assert same >= 0.99 * len(golden["static_found"])
    # Far inside what is promised (.005 and .03), so that a change of a constant is seen.
    assert np.median(apart) <= 0.001
    assert np.percentile(apart, 90) <= 0.005


def compare_video(clip, golden, variant, precision):
    """The clip in order, smoothed, with its own time stamps."""
    estimator = estimator_for(variant, precision, "normal")
    apart, same = [], 0
    for number, image in enumerate(read_clip(clip)):
        poses = estimator.process(frame(image, float(golden["video_time_ms"][number]) / 1e3)).poses
        found = bool(golden["video_found"][number])
        same += bool(poses) == found
        if poses and found:
            apart.append(distances(poses, golden["video_xy_norm"][number], image))
    assert len(apart) > 200
    return same, apart


def test_as_a_video_with_smoothing_and_true_time_stamps(clip, golden, variant):
    same, apart = compare_video(clip, golden, variant, "float16")
    assert same >= 0.98 * len(golden["video_found"])
    assert np.median(apart) <= 0.02


def test_int8_stays_close_each_frame_by_itself(clip, golden, variant, store, monkeypatch):
    """The int8 landmark model on the float detector's regions, as a crop moved by a pixel moves landmarks more.

    Tolerances from what was measured (lite: median .008, 90th percentile .046, 146 of 148 alike) and a half.
    """
    if store.default_precision("ai-edge-litert", variant) != "int8":
        pytest.skip(f"{variant} does not run int8 by default")
    default = ModelStore.default_precision

    def float_detector(of, runtime, name):
        return "float16" if name == "detector" else default(of, runtime, name)

    monkeypatch.setattr(ModelStore, "default_precision", float_detector)
    same, apart = compare_static(clip, golden, variant, "int8")
    assert same >= 0.97 * len(golden["static_found"])
    assert np.median(apart) <= 0.012
    assert np.percentile(apart, 90) <= 0.07


def test_int8_finds_the_same_people_each_frame_by_itself(clip, golden, variant):
    """Both models int8. Measured: lite 137 of 148 alike, median .031 torso; full 141, .022: other regions.

    People who are hard to see lie near the detector's gate of 0.5; how `verified` finds them is not MediaPipe's way.
    """
    same, apart = compare_static(clip, golden, variant, "int8")
    assert same >= 0.9 * len(golden["static_found"])
    assert np.median(apart) <= 0.045


def test_int8_stays_close_as_a_video(clip, golden, variant, store):
    """Measured: median .018 torso, 228 of 230 frames found alike."""
    if store.default_precision("ai-edge-litert", variant) != "int8":
        pytest.skip(f"{variant} does not run int8 by default")
    same, apart = compare_video(clip, golden, variant, "int8")
    assert same >= 0.97 * len(golden["video_found"])
    assert np.median(apart) <= 0.03
