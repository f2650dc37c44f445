import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.pose import Roi
from edge.tracker import Tracker, square_iou


def roi(x=100.0, y=100.0, side=50.0):
    return Roi(x, y, side, 0.0)


def test_nobody_held_detect_every_frame():
    tracker = Tracker(1, 0.5, 0.5)
    for time_s in (0.0, 0.01, 0.02):
        assert tracker.wants_detection(time_s)
        tracker.add([], time_s)
    assert tracker.people == []


def test_an_empty_room_is_searched_seldom_unless_something_moves():
    tracker = Tracker(1, 0.5, 0.5, idle_interval_s=0.2)
    asked = []

    def still():
        asked.append(1)
        return False

    assert tracker.wants_detection(10.0, still)  # never looked yet
    assert asked == []
    tracker.add([], 10.0)
    assert not tracker.wants_detection(10.1, still)
    assert tracker.wants_detection(10.1, lambda: True)
    assert tracker.wants_detection(10.21, still)
    assert len(asked) == 1


def test_whoever_is_lost_is_looked_for_at_once():
    tracker = Tracker(1, 0.5, 0.5, idle_interval_s=0.2)
    tracker.add([roi()], 10.0)
    tracker.update(tracker.people[0], 0.1, roi())
    assert tracker.wants_detection(10.03, lambda: False)


def test_a_detection_is_taken_up_and_then_followed_without_the_detector():
    tracker = Tracker(1, 0.5, 0.5)
    tracker.add([roi()], 0.0)
    (person,) = tracker.people
    assert person.source == "detected"
    assert tracker.update(person, 0.5, roi(110))
    assert (person.source, person.roi.x_px) == ("tracked", 110)
    assert not tracker.wants_detection(1000.0)


def test_low_presence_loses_the_person_and_the_next_frame_detects():
    tracker = Tracker(1, 0.5, 0.5)
    tracker.add([roi()], 0.0)
    first = tracker.people[0]
    assert not tracker.update(first, 0.4999, roi())
    assert tracker.people == []
    assert tracker.wants_detection(0.01)
    tracker.add([roi()], 0.01)
    assert tracker.people[0].id != first.id


@pytest.mark.parametrize("bad", [roi(math.nan), roi(y=math.inf), roi(side=0.5), roi(side=math.nan), roi(side=math.inf)])
def test_a_region_that_cannot_be_looked_at_is_never_held(bad):
    tracker = Tracker(1, 0.5, 0.5)
    tracker.add([bad], 0.0)
    assert tracker.people == []
    tracker.add([roi()], 0.0)
    assert not tracker.update(tracker.people[0], 0.99, bad)
    assert tracker.people == []


def test_a_presence_that_is_no_number_loses_the_person():
    tracker = Tracker(1, 0.5, 0.5)
    tracker.add([roi()], 0.0)
    assert not tracker.update(tracker.people[0], math.nan, roi())


def test_only_the_best_are_taken_up():
    tracker = Tracker(2, 0.5, 0.5)
    tracker.add([roi(0), roi(1000), roi(2000)], 0.0)
    assert [person.roi.x_px for person in tracker.people] == [0, 1000]


def test_one_person_is_not_taken_up_twice():
    tracker = Tracker(3, 0.5, 0.5)
    tracker.add([roi(), roi(105), roi(400)], 0.0)
    tracker.add([roi(98), roi(405)], 1.0)
    assert [person.roi.x_px for person in tracker.people] == [100, 400]


def test_room_for_more_is_searched_at_the_interval():
    tracker = Tracker(2, 0.5, 0.5)
    tracker.add([roi()], 10.0)
    assert not tracker.wants_detection(10.4)
    assert tracker.wants_detection(10.5)
    tracker.add([], 10.5)
    assert not tracker.wants_detection(10.9)
    tracker.add([roi(900)], 11.0)
    assert not tracker.wants_detection(99.0)  # full


def test_forgetting_searches_anew():
    tracker = Tracker(1, 0.5, 0.5)
    tracker.add([roi()], 0.0)
    tracker.forget()
    assert tracker.people == []
    assert tracker.wants_detection(0.0)


def test_square_iou_by_hand():
    assert square_iou(roi(), roi()) == pytest.approx(1)
    assert square_iou(roi(0, 0, 2), roi(1, 0, 2)) == pytest.approx(2 / 6)
    assert square_iou(roi(0, 0, 4), roi(0, 0, 2)) == pytest.approx(4 / 16)
    assert square_iou(roi(0, 0, 2), roi(9, 0, 2)) == 0


squares = st.builds(roi, st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(2, 500))


@given(squares, squares)
def test_square_iou_is_symmetric_and_bounded(first, second):
    assert 0 <= square_iou(first, second) <= 1 + 1e-9
    assert square_iou(first, second) == pytest.approx(square_iou(second, first))


frames = st.lists(st.tuples(st.lists(squares, max_size=4), st.floats(0, 1), squares), max_size=30)


@given(frames, st.integers(1, 5))
def test_never_two_tracks_on_one_detection_and_never_too_many(steps, max_people):
    tracker, seen = Tracker(max_people, 0.5, 0.5), set()
    for number, (candidates, presence, moved) in enumerate(steps):
        if tracker.wants_detection(number / 30):
            before = list(tracker.people)
            tracker.add(candidates, number / 30)
            new = tracker.people[len(before) :]
            for person in new:
                assert person.id not in seen
                others = [other for other in tracker.people if other is not person]
                assert all(square_iou(person.roi, other.roi) < 0.3 for other in others)
                seen.add(person.id)
        assert len(tracker.people) <= max_people
        if tracker.people:
            tracker.update(tracker.people[0], presence, moved)
