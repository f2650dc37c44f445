import numpy as np
import pytest

from edge.config import SmoothingSettings
from edge.pose import Landmarks, Pose, Roi
from edge.quality import QualityMeter, jitter
from edge.smoothing import PoseSmoother
from tests.benchmarks import lag


def body(x):
    """Shoulders 100 px above the hips: the torso is 100 px."""
    points = np.zeros((33, 5), np.float32)
    points[:, 0] = x
    points[[23, 24], 1] = 100
    return points


def pose(published, raw=None, one=1):
    return Pose(one, 0.9, "tracked", published, None, Roi(0, 0, 1, 0), raw)


def test_steady_motion_does_not_tremble_and_a_jump_does():
    meter = QualityMeter()
    seen = [meter.see([pose(body(x))], number / 30)[0].jitter for number, x in enumerate((0, 10, 20, 30, 50))]
    assert seen == [None, None, 0, 0, pytest.approx(0.1)]


def test_steady_motion_does_not_tremble_whatever_the_times_of_the_frames():
    # Every 30th of a second, with frames dropped in between.
    meter = QualityMeter()
    seen = [meter.see([pose(body(10 * number))], number / 30)[0].jitter for number in (0, 1, 3, 4, 9, 10, 12)]
    assert seen[2:] == [0] * 5
    # Half a torso further after one frame than speed would have it, whether the step before was long or short.
    assert jitter([body(0), body(10), body(80)], [0.0, 0.1, 0.3]) == pytest.approx(0.5)
    assert jitter([body(0), body(20), body(80)], [0.0, 0.2, 0.3]) == pytest.approx(0.5)


def test_a_delay_of_two_frames_is_found():
    meter = QualityMeter()
    for number in range(10):
        (seen,) = meter.see([pose(body(10 * number), body(10 * (number + 2)))], number / 30)
    assert seen.lag_ms == pytest.approx(2000 / 30, abs=0.1)


def test_at_rest_there_is_no_delay_to_see_and_a_gap_or_another_person_starts_anew():
    meter = QualityMeter()
    for number in range(5):
        (seen,) = meter.see([pose(body(0.01 * number), body(0.02 * number))], number / 30)
    assert seen.lag_ms is None
    assert meter.see([pose(body(0))], 9.0)[0].jitter is None
    assert meter.see([pose(body(0), one=2)], 9.03)[0].jitter is None


def test_strong_smoothing_is_later_than_normal():
    def late_ms(mode):
        smoother, meter = PoseSmoother(SmoothingSettings(mode=mode)), QualityMeter()
        for number in range(60):
            raw = Landmarks(
                0.9, 0.0, np.full(33, 0.7, np.float32), body(5 * number), np.zeros((2, 2), np.float32), None
            )
            meter.see([pose(smoother.apply(raw, number / 30, 300.0).keypoints_px, raw.keypoints_px)], number / 30)
        return np.median(meter.lags_s) * 1e3

    assert 0 < late_ms("normal") < late_ms("strong") < 100


def test_a_delay_is_measured_over_a_clip_whatever_single_frames_show():
    chance, times_s = np.random.default_rng(0), [number / 30 for number in range(90)]
    body = chance.uniform(0, 200, (33, 2))
    swing = chance.uniform(20, 60, (33, 2))

    def at(time_s):
        return (body + swing * np.sin(4 * time_s + np.arange(33)[:, None])).astype(np.float32)

    published = [at(time_s - 0.02) for time_s in times_s]
    alone = [(at(time_s) + chance.normal(0, 4, (33, 2))).astype(np.float32) for time_s in times_s]
    alone[30], alone[60], published[10] = alone[30] + 500, None, None
    frames = lag.motion(times_s, published, alone)
    assert len(frames) == 88 - 3 * 3
    assert lag.late_ms(frames) == pytest.approx(20, abs=1)
    low, high = lag.interval_ms([frames])
    assert 17 < low < 20 < high < 23
