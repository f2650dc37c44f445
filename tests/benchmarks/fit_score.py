"""Fits `edge.evidence.WEIGHTS`: how likely a look at somebody is a look at a person. Development only.

Usage, from the root of the repository, in the development environment: python -m tests.benchmarks.fit_score

No scene here scores anything. Looks at people: a man on a treadmill (pose2sim's four cameras) as he is, half and
a quarter as large, alone in a grey picture, cut in half and cut off at the hips; walkers (opencv-doc's vtest.avi), told
by what moves against the still background. Looks at nobody: photographs without people, mirrored, and parts of them;
the walkers' background. Both kinds count alike as a whole.
"""

import random
import sys
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import roi
from edge.config_load import load
from edge.detector import Detector
from edge.estimator import PoseEstimator
from edge.evidence import WEIGHTS, score_logit
from edge.pose import Frame, Landmarks
from models.build import clips

Image = NDArray[np.uint8]
VTEST = (clips.OPENCV_DOC, "usr/share/doc/opencv-doc/examples/data/vtest.avi")
STEP_TREADMILL, STEP_WALKERS = 20, 12
# Detections below this are not looked at by the tracker either.
MIN_SCORE = 0.1
# As MediaPipe's decoder sees a picture: small, large, left and right parts of the walkers' film.
CORNERS_PX = ((0, 0), (0, 384), (200, 200), (250, 0), (250, 400), (100, 300))
RIDGE = 1e-3


class Looks:
    """Both models over pictures: mean peak and detector's logit of every second look."""

    def __init__(self, variant: str, precision: str) -> None:
        overrides = {"model.model": variant, "model.precision": precision, "model.threads": 1}
        estimator = PoseEstimator(load(overrides=overrides, environment={}).settings)
        self._detector = Detector(estimator.detector_model, MIN_SCORE)
        self._landmarks = estimator._landmarks
        self.features: list[tuple[float, float]] = []
        self.people: list[bool] = []

    def at(self, image: Image) -> list[tuple[Landmarks, tuple[float, float]]]:
        """Everybody whom the detector proposes."""
        frame = Frame(np.ascontiguousarray(image), 0.0, 0.0, 0.0)
        seen = []
        for detection in self._detector.detect(frame)[:6]:
            region = roi.from_detection(detection)
            for _ in range(2):
                self._landmarks.load(frame, region)
                found = self._landmarks.infer(region)
                region = roi.from_auxiliary(found.auxiliary_px)
            seen.append((found, (found.peak, score_logit(detection.score))))
        return seen

    def add(self, features: tuple[float, float], *, person: bool) -> None:
        """One example."""
        self.features.append(features)
        self.people.append(person)

    def nobody(self, image: Image) -> None:
        """A picture without people."""
        for _, features in self.at(image):
            self.add(features, person=False)


def parts(image: Image, chance: random.Random, count: int) -> Iterator[Image]:
    """Parts of a picture, of 0.3 to 0.8 of its sides."""
    height, width = image.shape[:2]
    for _ in range(count):
        share = chance.uniform(0.3, 0.8)
        high, wide = int(height * share), int(width * share)
        top, left = chance.randrange(height - high + 1), chance.randrange(width - wide + 1)
        yield image[top : top + high, left : left + wide]


def add_photographs(looks: Looks, chance: random.Random) -> None:
    """Pictures without people."""
    for clip in clips.SCENES["empty"]:
        image = cv2.imread(str(clips.extracted(clip.package, clip.path)))
        for picture in (image, image[:, ::-1], *parts(image, chance, 8)):
            looks.nobody(picture)


def views(image: Image, person: roi.Roi) -> Iterator[tuple[Image, float, float, float]]:
    """The man on the treadmill in several ways: the picture, its scale, and where its corner was, px."""
    yield image, 1.0, 0.0, 0.0
    for scale in (0.5, 0.25):
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield small, scale, 0.0, 0.0
        grey = np.full((480, 640, 3), 110, np.uint8)
        high = min(len(small), 480)
        grey[:high, 300 : 300 + small.shape[1]] = small[:high]
        yield grey, scale, -300 / scale, 0.0
    left, top = max(0, int(person.x_px - person.side_px / 2)), max(0, int(person.y_px - person.side_px / 2))
    bottom, right = int(person.y_px + person.side_px * 0.02), int(left + person.side_px)
    yield image[top:bottom, left:right], 1.0, left, top
    yield image[top:, int(person.x_px) :], 1.0, int(person.x_px), top


def add_treadmill(looks: Looks) -> None:
    """Looks whose next region is where the man is known to be."""
    for number in (1, 2, 3, 4):
        path = clips.extracted(clips.POSE2SIM, f"Pose2Sim/Demo_SinglePerson/videos/cam0{number}.mp4")
        for picture in clips.frames(path, STEP_TREADMILL):
            image = cv2.resize(picture[:, :, ::-1], (540, 960), interpolation=cv2.INTER_AREA)
            best = max(looks.at(image), key=lambda seen: seen[0].peak)[0]
            person = roi.from_auxiliary(best.auxiliary_px)
            for view, scale, left, top in views(image, person):
                for found, features in looks.at(view):
                    region = roi.from_auxiliary(found.auxiliary_px)
                    apart = np.hypot(region.x_px / scale + left - person.x_px, region.y_px / scale + top - person.y_px)
                    if apart < 0.15 * person.side_px and 0.65 < region.side_px / scale / person.side_px < 1.5:
                        looks.add(features, person=True)


def add_walkers(looks: Looks, chance: random.Random) -> None:
    """Looks at what moves, and at what does not."""
    images = [picture[:, :, ::-1] for picture in clips.frames(clips.extracted(*VTEST), STEP_WALKERS)]
    still = np.median(images, axis=0).astype(np.uint8)
    for picture in (still, *parts(still, chance, 12)):
        looks.nobody(picture)
    for image in images:
        moving = cv2.dilate((cv2.absdiff(image, still).max(2) > 40).astype(np.uint8), np.ones((5, 5)))
        for top, left in CORNERS_PX:
            if chance.random() < 0.5:
                continue
            view, moves = (whole[top : top + 300, left : left + 360] for whole in (image, moving))
            for found, features in looks.at(view):
                label = moves_there(found.keypoints_px[:, :2], moves)
                if label is not None:
                    looks.add(features, person=label)


def moves_there(points_px: NDArray[np.float32], moves: NDArray[np.uint8]) -> bool | None:
    """Whether joints lie on something that moves; None if that is not clear."""
    low, high = np.maximum(points_px.min(axis=0), 0).astype(int), points_px.max(axis=0).astype(int)
    inside = moves[low[1] : high[1], low[0] : high[0]]
    if inside.size < 50:
        return None
    x, y = points_px[[11, 12, 23, 24]].mean(axis=0).astype(int)
    on = 0 <= y < len(moves) and 0 <= x < moves.shape[1] and moves[y, x]
    if inside.mean() > 0.3 and on:
        return True
    return False if inside.mean() < 0.03 else None


def fit(features: NDArray[np.float64], people: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Logistic regression by Newton's method, both kinds of the same weight: bias, peak, detector."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    columns = np.column_stack([np.ones(len(features)), (features - mean) / spread])
    weight = np.where(people, 0.5 / people.mean(), 0.5 / (~people).mean())
    ridge = RIDGE * len(people) * np.array([0.0, *np.ones(features.shape[1])])
    found = np.zeros(columns.shape[1])
    for _ in range(100):
        probability = 1 / (1 + np.exp(-columns @ found))
        gradient = columns.T @ (weight * (probability - people)) + ridge * found
        curvature = (columns.T * (weight * probability * (1 - probability))) @ columns + np.diag(ridge + 1e-9)
        found -= np.linalg.solve(curvature, gradient)
    slopes = found[1:] / spread
    return np.array([found[0] - slopes @ mean, *slopes])


def main() -> int:
    """Print the weights of every model, beside those in use."""
    cv2.setNumThreads(1)
    for (variant, precision), used in WEIGHTS.items():
        looks, chance = Looks(variant, precision), random.Random(0)  # noqa: S311 -- no secret
        add_photographs(looks, chance)
        add_treadmill(looks)
        add_walkers(looks, chance)
        features, people = np.array(looks.features), np.array(looks.people)
        bias, peak, detector = fit(features, people)
        likely = features @ (peak, detector) + bias > 0
        missed, invented = (~likely[people]).mean(), likely[~people].mean()
        print(
            f"{variant} {precision}: Weights({bias:.2f}, {peak:.1f}, {detector:.2f}) of {people.sum()} looks at people"
        )
        print(
            f"  and {(~people).sum()} at nobody, at 0.5 {missed:.3f} missed and {invented:.3f} invented; in use: {used}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
