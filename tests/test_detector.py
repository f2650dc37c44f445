import numpy as np
import pytest
from conftest import frame, settings

from edge import detector
from edge.estimator import PoseEstimator


def test_anchors_are_the_published_grid():
    anchors = detector.make_anchors()
    assert anchors.shape == (2254, 2)
    assert anchors[0] == pytest.approx([0.5 / 28, 0.5 / 28])
    assert anchors[1] == pytest.approx(anchors[0])  # two anchors a cell
    assert anchors[2] == pytest.approx([1.5 / 28, 0.5 / 28])  # x runs first
    assert anchors[56] == pytest.approx([0.5 / 28, 1.5 / 28])
    assert anchors[28 * 28 * 2] == pytest.approx([0.5 / 14, 0.5 / 14])
    assert anchors[28 * 28 * 2 + 14 * 14 * 2] == pytest.approx([0.5 / 7, 0.5 / 7])
    assert anchors[-6:] == pytest.approx(np.full((6, 2), 6.5 / 7))


def test_decoding_one_box_by_hand():
    anchors = np.float32([[0.25, 0.5], [0.75, 0.5]])
    boxes = np.zeros((2, 12), np.float32)
    boxes[1] = [22.4, -22.4, 112, 56, 0, 0, 0, -112, 22.4, 0, 0, 44.8]
    scores, geometry = detector.decode(boxes, np.float32([-3, np.log(3)]), anchors, 224, 0.5)
    assert scores == pytest.approx([0.75])
    assert geometry[0, :4] == pytest.approx([0.85 - 0.25, 0.4 - 0.125, 0.85 + 0.25, 0.4 + 0.125])
    assert geometry[0, 4:] == pytest.approx([0.75, 0.5, 0.75, 0.0, 0.85, 0.5, 0.75, 0.7])


def test_boxes_of_a_float_model_are_in_one_output():
    boxes = np.arange(24, dtype=np.float32).reshape(1, 2, 12)
    assert (detector.read_boxes({"boxes": boxes}.__getitem__) == boxes[0]).all()


def test_keypoints_of_an_int8_model_are_fine_near_the_anchor_and_coarse_beyond():
    outputs = {
        "boxes": np.float32([[[1, 2, 45, 45]]]),
        "keypoints": np.float32([[[3, -4, 127, -128, 0, 119, 5, 6]]]),
        "keypoints_far": np.float32([[[6, -6, 300, -240, 0, 120, 6, 6]]]),
    }
    (values,) = detector.read_boxes(outputs.__getitem__)
    assert values.tolist() == [1, 2, 45, 45, 3, -4, 300, -240, 0, 120, 5, 6]


def test_decoding_sorts_and_cuts_at_the_score():
    logits = np.float32([2, -1, 0, 500, -500])
    scores, geometry = detector.decode(np.zeros((5, 12), np.float32), logits, np.zeros((5, 2), np.float32), 224, 0.5)
    assert scores == pytest.approx([1.0, 1 / (1 + np.exp(-2)), 0.5])
    assert geometry.shape == (3, 12)


@pytest.mark.parametrize(("score", "count"), [(0.0, 4), (1.0, 0)])
def test_scores_at_the_ends_of_the_range(score, count):
    logits = np.float32([-90, 0, 1, 15])
    scores, _ = detector.decode(np.zeros((4, 12), np.float32), logits, np.zeros((4, 2), np.float32), 224, score)
    assert len(scores) == count


def test_iou_by_hand():
    boxes = np.float32([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [0, 0, 0, 0]])
    assert detector.iou(boxes[0], boxes) == pytest.approx([1, 1 / 7, 0, 0])


def test_overlapping_boxes_are_averaged_by_score():
    geometry = np.zeros((3, 12), np.float32)
    geometry[0, :4], geometry[1, :4], geometry[2, :4] = [0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]
    geometry[0, 4], geometry[1, 4] = 3.0, 7.0
    people = detector.weighted_nms(np.float32([0.9, 0.3, 0.6]), geometry)
    assert [score for score, _ in people] == pytest.approx([0.9, 0.6])
    assert people[0][1][:4] == pytest.approx([0.5, 0, 10.5, 10])
    assert people[0][1][4] == pytest.approx(4.0)
    assert people[1][1][:4] == pytest.approx([50, 50, 60, 60])


def test_boxes_that_touch_little_stay_two_people():
    geometry = np.zeros((2, 12), np.float32)
    geometry[0, :4], geometry[1, :4] = [0, 0, 10, 10], [6, 0, 16, 10]  # IoU 0.25
    assert len(detector.weighted_nms(np.float32([0.9, 0.8]), geometry)) == 2


def test_nms_of_nothing_and_of_empty_boxes_ends():
    assert detector.weighted_nms(np.empty(0, np.float32), np.empty((0, 12), np.float32)) == []
    assert len(detector.weighted_nms(np.float32([0.9, 0.8]), np.zeros((2, 12), np.float32))) == 2


def test_the_real_detector_finds_the_person_wherever_the_frame_is_cut(clip_frames):
    estimator = PoseEstimator(settings(model__precision="float16"))
    whole = estimator._detector.detect(frame(clip_frames[20]))[0]
    top = 32  # the letterbox keeps its scale, and the person moves in it by half of this
    cut = estimator._detector.detect(frame(np.ascontiguousarray(clip_frames[20][top:])))[0]
    assert whole.score > 0.5
    tolerance_px = 0.15 * float(np.linalg.norm(whole.keypoints_px[1] - whole.keypoints_px[0]))
    assert cut.keypoints_px + np.array([0, top]) == pytest.approx(whole.keypoints_px, abs=tolerance_px)
    assert cut.box_px + np.array([0, top, 0, 0]) == pytest.approx(whole.box_px, abs=tolerance_px)
