"""The loop on the real clip, without a broker: what is published, and the figures that are kept."""

import itertools
import threading
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import frame, settings

from edge.camera import open_source
from edge.estimator import Estimate, PoseEstimator
from edge.messages import decode_pose
from edge.pipeline import Controls, Figures, Pipeline
from edge.pose import Orientation, Pose, Roi


@pytest.fixture(scope="module")
def run(clip):
    """The whole clip through the default models."""
    chosen = settings(camera__source=str(clip))
    messages = []
    with open_source(chosen.camera) as source:
        pipeline = Pipeline("here", source, PoseEstimator(chosen), [lambda _, payload: messages.append(payload)])
        figures = pipeline.run()
    return figures, [decode_pose(payload) for payload in messages]


def test_every_frame_of_the_clip_is_processed_and_told(run):
    figures, messages = run
    assert figures.frames == 230
    assert figures.frames_with_people >= 0.95 * 230
    assert len(messages) == figures.messages
    assert [message.seq for message in messages] == list(range(len(messages)))
    assert all((message.width, message.height, message.device) == (1768, 994, "here") for message in messages)


def test_the_detector_runs_on_few_of_the_frames_with_people(run):
    figures, messages = run
    assert figures.frames_detected / figures.frames_with_people < 0.03
    assert figures.share_without_detection() > 0.97
    sources = [message.poses[0].source for message in messages if message.poses]
    assert 1 <= sources.count("detected") <= figures.frames_detected  # the others verified somebody who was followed


def test_figures_of_the_last_frames_reach_as_far_back_as_they_are_told():
    short = Figures(window=2)
    for _ in range(3):
        short.count(Estimate(stage_ms={"detect": 1.0}), 0.001)
    assert (short.frames, len(short.age_ms), len(short.stage_ms["detect"]), short.latency_ms.maxlen) == (3, 2, 2, 2)


def test_time_is_the_files_own(run):
    _, messages = run
    steps = [after.time - before.time for before, after in pairwise(messages)]
    assert np.median(steps) == pytest.approx(1 / 30, abs=2e-3)


def test_every_stage_is_timed(run):
    figures, _ = run
    assert {"detect", "landmarks", "smooth", "encode", "publish"} <= set(figures.stage_ms)
    assert len(figures.stage_ms["landmarks"]) >= 228
    assert all(value >= 0 for values in figures.stage_ms.values() for value in values)


def people(count):
    return [Pose(1, 0.9, "tracked", np.zeros((33, 5), np.float32), None, Roi(0, 0, 1, 0))] * count


class Script:
    """Stands for the estimator: says how many people are followed into each frame, and how many a search then leaves.

    Args:
        followed: a number a frame.
        searched: a number a frame, or None where no search is due.
        delay_s: how long following takes.
        search_s: how long a search takes.
    """

    def __init__(self, followed, searched=None, delay_s=0.0, search_s=0.0):
        self.followed, self.searched = list(followed), list(searched or [None] * len(followed))
        self.delay_s, self.search_s, self.forgotten = delay_s, search_s, 0

    def follow(self, _frame):
        time.sleep(self.delay_s)
        self.left = self.searched.pop(0)
        return Estimate(people(self.followed.pop(0)), search_due=self.left is not None)

    def search(self, _frame, estimate):
        time.sleep(self.search_s)
        estimate.poses, estimate.search_due, estimate.detector_ran = people(self.left), False, True

    def forget(self):
        self.forgotten += 1


class Frames:
    """Stands for a source: so many frames of 8x8 pixels; of a live one `interval_s` apart."""

    def __init__(self, count):
        self.left, self.ended, self.live, self.interval_s, self.number = count, False, False, 0.0, 0
        self.pictures = False

    def read(self, timeout_s):
        assert timeout_s < 1  # a loop that waits longer would be deaf to being stopped
        if not self.left:
            self.ended = True
            return None
        self.left -= 1
        self.number += 1
        if self.live:
            time.sleep(self.interval_s)
        picture = frame(np.zeros((8, 8, 3), np.uint8))
        return replace(picture, available_s=time.monotonic(), number=self.number)


def scripted(followed, controls=None, **script):
    messages, script = [], Script(followed, **script)
    pipeline = Pipeline("d", Frames(len(followed)), script, [lambda m, _: messages.append(m)], controls=controls)
    return pipeline, script, messages


def test_an_empty_room_is_silent_but_for_the_last_goodbye():
    pipeline, _, messages = scripted([0, 0, 1, 1, 0, 0, 1, 0])
    pipeline.run()
    assert [len(message.poses) for message in messages] == [1, 1, 0, 1, 0]


def test_share_without_detection_is_unknown_before_anybody_was_seen():
    pipeline, _, _ = scripted([0, 0])
    assert pipeline.run().share_without_detection() is None


def test_a_loop_that_is_switched_off_processes_nothing():
    pipeline, _, messages = scripted([1, 1], Controls(enabled=False))
    assert pipeline.run().frames == 0
    assert messages == []


def test_whoever_is_followed_when_the_loop_is_switched_off_is_forgotten_and_said_to_have_left():
    controls = Controls()
    pipeline, script, messages = scripted([1, 1, 0], controls)
    follow = script.follow

    def off_after_one(picture):
        controls.enabled = False
        return follow(picture)

    script.follow = off_after_one
    assert pipeline.run().frames == 1
    assert [len(message.poses) for message in messages] == [1, 0]
    assert script.forgotten


def test_max_fps_may_be_set_to_0_at_any_moment():
    class Racing(Controls):
        values = itertools.cycle([1000.0, 0.0])
        max_fps = property(lambda racing: next(racing.values), lambda *_: None)

    pipeline, _, _ = scripted([1] * 20, Racing())
    assert at_a_camera(pipeline, 0.001).run().frames == 20


def test_redetect_drops_everybody_once():
    controls = Controls()
    controls.redetect.set()
    pipeline, script, _ = scripted([1, 1, 1], controls)
    pipeline.run()
    assert script.forgotten == 1
    assert not controls.redetect.is_set()


def at_a_camera(pipeline, interval_s):
    pipeline._source.live, pipeline._source.interval_s = True, interval_s
    return pipeline


@pytest.mark.parametrize(
    ("interval_s", "search_s", "longest_s", "max_fps", "told"),
    [
        (0.02, 0.05, 10.0, 0.0, [1]),  # found while the next frame arrives: told of with that
        (0.02, 0.05, 0.0, 0.0, [1, 1]),  # but not for ever
        (0.5, 0.02, 10.0, 0.0, [1, 1]),
        (0.02, 0.05, 10.0, 2.0, [1, 1]),  # the camera's next frame is not looked at soon
    ],
)
def test_a_live_frame_that_a_search_made_old_is_not_told_of(
    interval_s, search_s, longest_s, max_fps, told, monkeypatch
):
    monkeypatch.setattr("edge.pipeline.HOLD_BACK_S", longest_s)
    controls = Controls(max_fps=max_fps)
    pipeline, _, messages = scripted([0, 0, 1], controls, searched=[0, 1, None], search_s=search_s)
    figures = at_a_camera(pipeline, interval_s).run()
    assert figures.frames_with_people == 2
    assert [len(message.poses) for message in messages] == told


def test_every_frame_of_a_file_is_told_of_after_the_search():
    pipeline, _, messages = scripted([1, 0, 1], searched=[2, 1, 0], search_s=0.05)
    pipeline.run()
    assert [len(message.poses) for message in messages] == [2, 1, 0]


def test_who_is_held_does_not_wait_for_the_search():
    pipeline, _, messages = scripted([1, 1, 2], searched=[None, 2, None], search_s=0.2)
    at_a_camera(pipeline, 0.01).run()
    assert [len(message.poses) for message in messages] == [1, 1, 2]
    assert messages[1].latency_ms < 100


def test_the_goodbye_that_was_held_back_is_said_with_the_next_frame():
    pipeline, _, messages = scripted([1, 0, 0], searched=[None, 0, None], search_s=0.05)
    at_a_camera(pipeline, 0.02).run()
    assert [len(message.poses) for message in messages] == [1, 0]


def test_max_fps_is_kept_by_sleeping():
    pipeline, _, _ = scripted([1] * 6, Controls(max_fps=20))
    start, cpu = time.monotonic(), time.thread_time()
    pipeline.run()
    assert time.monotonic() - start >= 5 / 20 - 0.01
    assert time.thread_time() - cpu < 0.1


def test_stop_ends_the_loop_from_another_thread():
    controls = Controls()
    pipeline, _, messages = scripted([1] * 10_000, controls, delay_s=0.002)
    threading.Timer(0.1, controls.stop.set).start()
    pipeline.run()
    assert 0 < len(messages) < 10_000


def test_duration_ends_the_loop():
    pipeline, _, messages = scripted([1] * 10_000, delay_s=0.002)
    pipeline.run(duration_s=0.1)
    assert 0 < len(messages) < 10_000


def test_a_turned_camera_gives_the_same_keypoints(clip_frames):
    """rotate = 90 on pictures that lie on their side gives what the upright pictures give."""
    estimators = PoseEstimator(settings()), PoseEstimator(settings())
    apart = []
    for number, image in enumerate(clip_frames[20:44]):
        upright = np.ascontiguousarray(image[250:730, 900:1540])
        lying = np.ascontiguousarray(np.rot90(upright))  # a quarter turn against the clock, which the setting undoes
        turned = frame(lying, number / 10, orientation=Orientation(90))
        assert (turned.width_px, turned.height_px) == (640, 480)
        # Each by itself: one grey level that is rounded the other way would move everything that follows it.
        one, other = (
            estimator.process(picture, alone=True).poses
            for estimator, picture in zip(estimators, (frame(upright, number / 10), turned), strict=True)
        )
        assert len(one) == len(other)
        apart += [np.abs(a.keypoints_px[:, :2] - b.keypoints_px[:, :2]).max() for a, b in zip(one, other, strict=True)]
    assert len(apart) > 12
    assert np.max(apart) <= 0.01
