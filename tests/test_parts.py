import math

import cv2
import numpy as np
import pytest
from conftest import frame, settings
from simulated_people import detection

from edge import parts
from edge.acquisition import distinct_detections
from edge.estimator import PoseEstimator


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (1280, 720), (720, 1280), (1000, 100), (640, 640)])
@pytest.mark.parametrize("share", [*parts.SHARES, 1.0])
def test_parts_cover_the_whole_frame_with_no_more_than_needed(size, share):
    side_px = share * max(size)
    squares = parts.squares(frame(np.zeros((size[1], size[0], 3), np.uint8)), share)
    covered = np.zeros(size, bool)
    for square in squares:
        assert square.side_px == pytest.approx(side_px)
        assert square.rotation_rad == 0
        low, high = (
            [round(middle + reach, 6) for middle in (square.x_px, square.y_px)] for reach in (-side_px / 2, side_px / 2)
        )
        assert all(
            length <= side_px or (at >= 0 and to <= length) for at, to, length in zip(low, high, size, strict=True)
        )
        covered[max(0, math.floor(low[0])) : math.ceil(high[0]), max(0, math.floor(low[1])) : math.ceil(high[1])] = True
    assert covered.all()
    assert len(squares) == math.prod(math.ceil(length / side_px) for length in size)


def detectors_squares(estimator, monkeypatch):
    """What the detector is shown from now on: a list that fills."""
    shown = []
    detect = estimator._detector.detect

    def seen(picture, *squares):
        shown.append(squares)
        return detect(picture, *squares)

    monkeypatch.setattr(estimator._detector, "detect", seen)
    return shown


def test_while_more_people_are_wanted_a_film_is_searched_in_parts_in_turns(clip_frames, monkeypatch):
    estimator = PoseEstimator(settings(tracker__max_people=3, tracker__search_interval=0.0))
    shown = detectors_squares(estimator, monkeypatch)
    for number in range(4):
        estimator.process(frame(clip_frames[60 + number], number / 30))
    squares = parts.squares(frame(clip_frames[60]), parts.SHARES[0])
    looked = [one for (one,) in filter(None, shown) if one in squares]
    assert set(looked[:2]) == set(squares[:2])
    assert len(looked) == 3  # not in the first frame, where nobody was held


def test_a_film_of_one_person_is_searched_whole(clip_frames, monkeypatch):
    estimator = PoseEstimator(settings(tracker__verify_interval=0.01))
    shown = detectors_squares(estimator, monkeypatch)
    for number in range(4):
        estimator.process(frame(clip_frames[60 + number], number / 30))
    squares = parts.squares(frame(clip_frames[60]), parts.SHARES[0])
    assert shown
    assert not [one for looked in shown for one in looked if one in squares]


def test_an_empty_room_is_searched_whole(monkeypatch):
    estimator = PoseEstimator(settings(tracker__max_people=3, tracker__idle_fps=0))
    shown = detectors_squares(estimator, monkeypatch)
    for number in range(3):
        estimator.process(frame(np.full((720, 1280, 3), 90, np.uint8), number / 30))
    assert shown == [()] * 3


def test_of_almost_the_same_detections_the_surest_is_kept():
    sure, twin, other = detection(600, 300), detection(605, 300, 210, 0.5), detection(700, 300, score=0.4)
    assert distinct_detections([twin, other, sure]) == [sure, other]


def test_somebody_a_sixth_of_the_picture_high_is_found_in_a_picture_by_itself(clip_frames):
    estimator = PoseEstimator(settings())
    close = clip_frames[33]
    height_px = np.ptp(estimator.process(frame(close), alone=True).poses[0].keypoints_px[:, 1])
    scale = 130 / height_px
    far = cv2.resize(close, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = np.full((720, 1280, 3), 127, np.uint8)
    picture[300 : 300 + len(far), 200 : 200 + far.shape[1]] = far
    assert estimator.process(frame(picture)).poses == []  # in a film an empty frame is searched whole
    poses = estimator.process(frame(picture), alone=True).poses
    assert np.ptp(poses[0].keypoints_px[:, 1]) == pytest.approx(130, rel=0.2)
