"""People who are not there, for tests of the tracker: what the models would say of them, without any model."""

import math

import numpy as np
from conftest import settings

from edge import roi
from edge.acquisition import Finder, sighting_of
from edge.estimator import PoseEstimator
from edge.evidence import NAMES, PARTS, Weights
from edge.pose import Detection, Landmarks
from edge.tracker import Tracker

SIZE_PX = (1280, 720)
# Not those of a model, so that a new fit changes no test: a heatmap's peak of 0.36 is as likely a person as not.
WEIGHTS = Weights(-6.3, 0.7, np.array([17.5 / len(PARTS) if name.startswith("peak of") else 0.0 for name in NAMES]))


def landmarks(x, y, side=200.0, peak=0.7, presence=0.99, clothes=None):
    """A stick figure whose hips are at x, y, and whose next region is there with that side."""
    keypoints = np.zeros((33, 5), np.float32)
    keypoints[:, 0], keypoints[:, 1] = x, y + np.linspace(-0.4, 0.4, 33) * side
    auxiliary = np.float32([[x, y], [x, y - side / 2 / roi.ROI_SCALE]])
    return Landmarks(presence, 0.0, np.full(33, peak, np.float32), keypoints, auxiliary, None, clothes)


def detection(x, y, side=200.0, score=0.9):
    points = np.float32([[x, y], [x, y - side / 2 / roi.ROI_SCALE], [x, y], [x, y]])
    return Detection(score, np.zeros(4, np.float32), points)


def finder_of(look, wider=list, closer=list):
    return Finder(WEIGHTS, SIZE_PX, 0.5, look, wider, closer)


def tracker(**rules):
    return Tracker(settings(**{f"tracker__{name}": value for name, value in rules.items()}).tracker, WEIGHTS)


class World:
    """Stands for the models: people (x, y, peak, presence, clothes), of whom the nearest to a region is seen there."""

    def __init__(self, followed, people=(), step_s=1 / 30):
        self.tracker, self.people, self.time_s, self.step_s = followed, list(people), 0.0, step_s
        self.detector_runs = 0
        self.blind = False
        self.score = 0.9

    def look(self, region):
        near = [p for p in self.people if math.hypot(p[0] - region.x_px, p[1] - region.y_px) < region.side_px / 2]
        if not near:
            return landmarks(region.x_px, region.y_px, peak=0.2, presence=0.01)
        x, y, *more = min(near, key=lambda p: math.hypot(p[0] - region.x_px, p[1] - region.y_px))
        return landmarks(x, y, 200.0, *more)

    def detect(self):
        return [] if self.blind else [detection(p[0], p[1], score=self.score) for p in self.people]

    def frame(self, look=None, detections=None):
        """As the estimator does it; returns the published ids."""
        look = look or self.look
        self.time_s += self.step_s
        search = self.tracker.wants_detection(self.time_s)
        self.tracker.recognise(self.time_s)
        for person in list(self.tracker.people):
            found, logit = look(person.roi), person.last.detector_logit
            seen = sighting_of(person.roi, found, logit, WEIGHTS)
            self.tracker.update(person, seen, roi.from_auxiliary(found.auxiliary_px), self.time_s, SIZE_PX)
        if search or self.tracker.wants_detection(self.time_s, lambda: False):
            self.detector_runs += 1
            seen = self.detect() if detections is None else detections
            finder = finder_of(look, lambda: seen)
            self.tracker.search(seen, finder, self.time_s)
        return [person.id for person in self.tracker.settle(self.time_s) if person.confirmed]

    def pass_time(self, seconds):
        return [self.frame() for _ in range(round(seconds / self.step_s))]


def scripted_estimator(world):
    """An estimator whose models see what there is in a world, as its `world`."""

    class Scripted(PoseEstimator):
        def _look(self, _frame, region, _estimate):
            return self.world.look(region)

        def _detect(self, *_):
            return self.world.detect()

    estimator = Scripted(settings())
    estimator.world, estimator._tracker, estimator._weights = world, world.tracker, WEIGHTS
    return estimator
