import time

import cv2
import numpy as np
import pytest
from conftest import frame, read_clip, settings

from edge.estimator import PoseEstimator
from edge.motion import MotionGate
from edge.pose import Orientation


@pytest.fixture(scope="module")
def room(clip):
    """The clip's scene at half size: the left part, in which nobody walks."""
    first = next(read_clip(clip))
    return np.ascontiguousarray(cv2.resize(first, (884, 497))[:, :200])


def noisy(image, seed, strength):
    noise = np.random.default_rng(seed).normal(0, strength, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def test_without_a_reference_everything_may_have_moved(room):
    assert MotionGate().moved(frame(room))


@pytest.mark.parametrize("strength", [0, 3, 12])
def test_noise_is_no_motion(room, strength):
    gate = MotionGate()
    gate.keep(frame(noisy(room, 0, strength)))
    assert not any(gate.moved(frame(noisy(room, seed, strength))) for seed in range(1, 20))


def test_a_slow_change_of_light_is_no_motion(room):
    gate = MotionGate()
    gate.keep(frame(room))
    assert not gate.moved(frame(np.clip(room.astype(int) + 6, 0, 255).astype(np.uint8)))


@pytest.mark.parametrize("size", [(12, 30), (40, 100), (150, 290)])
def test_somebody_who_walks_in_is_motion(room, size):
    gate = MotionGate()
    gate.keep(frame(noisy(room, 0, 3)))
    there = noisy(room, 1, 3)
    there[200 : 200 + size[1], 50 : 50 + size[0]] = 20
    assert gate.moved(frame(there))


def test_an_empty_room_costs_few_detector_runs_and_a_walker_is_seen_at_once(clip, room):
    estimator = PoseEstimator(settings())
    runs = idle = 0
    for i in range(60):
        estimate = estimator.process(frame(noisy(room, i, 2), i / 30))
        assert not estimate.poses
        runs += estimate.detector_ran
        idle += not estimator._tracker.people  # for half a second it may be in doubt about something
    assert idle > 40
    assert 0.9 <= runs / (idle / 30) / 5 <= 1.2  # at 5 a second
    person = next(image for number, image in enumerate(read_clip(clip)) if number == 60)
    person = np.ascontiguousarray(person[250:994, 900:1768])
    scene = cv2.resize(room, (person.shape[1], person.shape[0]))
    for i in range(60, 63):
        estimator.process(frame(scene, i / 30))
    assert estimator.process(frame(person, 63 / 30)).poses


@pytest.mark.parametrize(("rotate", "quarters"), [(90, 1), (180, 2), (270, 3)])
def test_a_turned_camera_sees_the_same_motion(room, rotate, quarters):
    gates = MotionGate(), MotionGate()
    orientation = Orientation(rotate, mirror=False)
    for gate, turned in zip(gates, (0, quarters), strict=True):
        gate.keep(frame(np.rot90(room, turned).copy(), orientation=orientation if turned else Orientation()))
    assert (gates[0]._reference == gates[1]._reference).all()


def test_looking_costs_little():
    image = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    gate = MotionGate()
    gate.keep(frame(image))
    start = time.thread_time()
    for _ in range(100):
        gate.moved(frame(image))
    assert (time.thread_time() - start) / 100 < 3e-3  # far from a detector's 10 ms even on a busy machine
