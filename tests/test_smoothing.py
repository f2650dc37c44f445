import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import SmoothingSettings
from edge.pose import Landmarks
from edge.smoothing import OneEuroFilter, PoseSmoother

series = st.lists(st.tuples(st.floats(0.001, 0.49), st.floats(-1000, 1000)), min_size=1, max_size=20)


def one_euro_by_definition(samples, min_cutoff, beta, derivative_cutoff, scale):
    """Casiez et al. 2012, algorithm 1, a value at a time."""

    def alpha(cutoff, step):
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / step)

    out, raw_before, smooth, velocity, before = [], None, None, 0.0, None
    for time, value in samples:
        if smooth is None:
            smooth = value
        else:
            step = time - before
            rate = (value - raw_before) * scale / step
            a = alpha(derivative_cutoff, step)
            velocity = a * rate + (1 - a) * velocity
            a = alpha(min_cutoff + beta * abs(velocity), step)
            smooth = a * value + (1 - a) * smooth
        raw_before, before = value, time
        out.append(smooth)
    return out


@given(series, st.sampled_from([(0.05, 80.0), (0.01, 10.0), (0.1, 40.0)]), st.floats(0.0005, 1))
def test_filter_against_its_definition(steps, constants, scale):
    time, samples = 0.0, []
    for step, value in steps:
        time += step
        samples.append((time, float(np.float32(value))))
    expected = one_euro_by_definition(samples, *constants, 1.0, scale)
    smooth = OneEuroFilter(*constants)
    got = [float(smooth.apply(np.float32([value]), time, scale)[0]) for time, value in samples]
    assert got == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_noise_at_rest_is_removed_and_motion_is_followed():
    rng = np.random.default_rng(0)
    smooth = OneEuroFilter(0.05, 80.0)
    noise = rng.normal(0, 1, 300)
    still = [float(smooth.apply(np.float32([100 + n]), i / 30, 1 / 300)[0]) for i, n in enumerate(noise)]
    assert np.std(still[100:]) < 0.6 * np.std(noise[100:])
    moving = [float(smooth.apply(np.float32([100 + 20 * i]), 10 + i / 30, 1 / 300)[0]) for i in range(1, 60)]
    assert 100 + 20 * 59 - moving[-1] < 20  # less than a frame behind


def test_values_of_the_same_instant_pass_unfiltered():
    smooth = OneEuroFilter(0.05, 80.0)
    smooth.apply(np.float32([1]), 1.0, 1.0)
    assert smooth.apply(np.float32([9]), 1.0, 1.0) == pytest.approx([9])
    assert smooth.apply(np.float32([9]), 0.5, 1.0) == pytest.approx([9])


def test_after_a_gap_the_filter_starts_anew():
    smooth = OneEuroFilter(0.05, 80.0)
    for number in range(30):
        smooth.apply(np.float32([100]), number / 30, 1 / 300)
    assert smooth.apply(np.float32([900]), 1.6, 1 / 300) == pytest.approx([900])
    assert smooth.apply(np.float32([901]), 1.6 + 1 / 30, 1 / 300) < 901


def test_strong_trembles_less_than_normal_and_own_settings_count():
    noise = np.random.default_rng(0).normal(0, 1, (120, 33)).astype(np.float32)

    def spread(**chosen):
        smoother = PoseSmoother(SmoothingSettings(**chosen))
        seen = []
        for number, row in enumerate(noise):
            given_ = landmarks(100.0)
            given_.keypoints_px[:, 0] += row
            seen.append(smoother.apply(given_, number / 30, 200.0).keypoints_px[:, 0])
        return np.std(seen[60:])

    assert spread(mode="strong") < 0.7 * spread(mode="normal") < 0.9
    assert spread(mode="normal", beta=20.0) == pytest.approx(spread(mode="strong"))
    assert spread(mode="normal", min_cutoff=8.0) > spread(mode="normal")


def landmarks(value, visibility=1.0):
    keypoints = np.full((33, 5), value, np.float32)
    keypoints[:, 3:] = visibility
    return Landmarks(
        0.9,
        0.0,
        np.full(33, 0.6, np.float32),
        keypoints,
        np.full((2, 2), value, np.float32),
        np.full((33, 3), value, np.float32),
    )


def test_smoother_leaves_its_input_alone_and_smooths_every_part():
    smoother = PoseSmoother()
    smoother.apply(landmarks(100.0, 1.0), 0.0, 300.0)
    given_ = landmarks(101.0, 0.0)
    found = smoother.apply(given_, 1 / 30, 300.0)
    assert (given_.keypoints_px[:, 0] == 101).all()
    assert (found.keypoints_px[:, :3] > 100).all()
    assert (found.keypoints_px[:, :3] < 101).all()
    assert found.keypoints_px[:, 3] == pytest.approx(np.full(33, 0.9))  # visibility: a tenth of the new value
    assert (found.keypoints_px[:, 4] == 0).all()
    assert (found.auxiliary_px > 100).all()
    assert (found.auxiliary_px < found.keypoints_px[0, 0]).all()  # its cutoff is lower
    assert found.world_m is not None
    assert (found.world_m < 101).all()


def test_a_person_without_size_is_not_smoothed():
    given_ = landmarks(5.0)
    assert PoseSmoother().apply(given_, 0.0, 0.0) is given_
