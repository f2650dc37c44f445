"""Fits `edge.evidence.WEIGHTS`: how likely it is that what was looked at is a person. Development only.

Usage, from the root of the repository, in the development environment (npm, apt-get and dpkg-deb for the pictures):

    python -m tests.benchmarks.fit_score [lite:int8 full:int8 lite:float16 full:float16]

Looks at people, at animals and at neither, as `predict` takes them, in the pictures of `score_scenes`; no scene here
scores anything else. People count for 0.6 of what is fitted, and the other two kinds for 0.2 each. Printed: the
weights to put into `edge/evidence.py`; by cross-validation (folds of whole pictures) how many people are found, and how
many animals taken for people, where as many pictures without people show somebody as MediaPipe's do; what each group
of clues is worth, by leaving it out; and what the weights do on held-out pictures.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.acquisition import WIDER, Finder, Sighting
from edge.config import TrackerSettings
from edge.config_load import load
from edge.detector import Detector
from edge.estimator import PoseEstimator
from edge.evidence import LENGTHS, NAMES, PARTS, Weights
from edge.pose import LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER, Frame, Landmarks, Roi
from models.build import clips
from tests.benchmarks import score_scenes
from tests.benchmarks.score_scenes import Cut, Image

MODELS: Final = ("lite:int8", "full:int8", "lite:float16", "full:float16")
# Columns: the detector's logit, then the clues.
GROUPS: Final = {
    "detector": ["detector"],
    "presence": ["presence"],
    "ankles below knees": ["ankles below knees"],
    "peaks": [f"peak of {part}" for part in PARTS],
    "presences of parts": [f"presence of {part}" for part in PARTS],
    "lengths": list(LENGTHS),
}
COLUMNS: Final = ("detector", *NAMES)
PEAKS: Final = [name in GROUPS["peaks"] for name in NAMES]
# For the looks themselves nothing is hopeless.
INDIFFERENT: Final = Weights(0.0, 0.0, np.zeros(len(NAMES)))
# A look is at the annotated person if the middle of its torso is so near to theirs, in torsos.
SAME_TORSO: Final = 0.5
# MediaPipe 1.2.2 full reports somebody in this share of the pictures without people that are fitted on.
FALSE_SHARE: Final = 0.035
# Of what is fitted: people, pictures without anybody, animals.
SHARES: Final = (0.6, 0.2, 0.2)
FOLDS: Final = 5
RIDGE: Final = 3e-3
TORSO: Final = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP]


@dataclass
class Seen:
    """What was seen in one cut: a row of clues for everybody, and which of them are the annotated person."""

    cut: Cut
    clues: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def kind(self) -> int:
        """What is in the cut: 0 a person, 1 nobody, 2 an animal."""
        return 0 if self.cut.middle_px is not None else 1 + self.cut.animal

    def best(self, weights: NDArray[np.float64]) -> float:
        """Log-odds of the person, or of the likeliest nobody; bias first."""
        rows = self.clues[self.right] if self.cut.middle_px is not None else self.clues
        return float((weights[0] + rows @ weights[1:]).max()) if len(rows) else -np.inf


@dataclass
class Looks:
    """Both models over cuts, by the way in which the product finds people."""

    variant: str
    precision: str
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        overrides = {"model.model": self.variant, "model.precision": self.precision, "model.threads": 1}
        self._rules: TrackerSettings = load(overrides=overrides, environment={}).settings.tracker
        estimator = PoseEstimator(load(overrides=overrides, environment={}).settings)
        self._detector = Detector(estimator.detector_model, self._rules.candidate_score)
        self._landmarks = estimator._landmarks

    def at(self, image: Image) -> list[Sighting]:
        """Everybody whom the landmark model sees anything of."""
        frame = Frame(np.ascontiguousarray(image), 0.0, 0.0, 0.0)

        def look(region: Roi) -> Landmarks:
            self._landmarks.load(frame, region)
            return self._landmarks.infer(region)

        wider = cache(lambda: self._detector.detect(frame, WIDER))
        size_px = frame.width_px, frame.height_px
        finder = Finder(INDIFFERENT, size_px, self._rules.min_presence, look, wider)
        return finder.closely(
            self._detector.detect(frame), [], 1, self._rules.candidates - 1, thorough=True, dismissed=[]
        )

    def add(self, cut: Cut) -> None:
        """Look at a cut."""
        people = self.at(cut.image)
        clues = np.array([(one.detector_logit, *one.clues) for one in people]).reshape(-1, len(COLUMNS))
        right = np.array([_is(one, cut) for one in people], bool)
        self.seen.append(Seen(cut, clues, right))

    def treadmill(self) -> None:
        """A man on a treadmill, seen by four cameras; where he is, the clearest look tells."""
        for number in (1, 2, 3, 4):
            path = f"Pose2Sim/Demo_SinglePerson/videos/cam0{number}.mp4"
            chance = random.Random(number)  # noqa: S311 -- no secret
            for picture in clips.frames(clips.extracted(clips.POSE2SIM, path), score_scenes.STEP_TREADMILL):
                image = score_scenes.smaller(picture[:, :, ::-1], 960)
                clearest = max(self.at(image), key=lambda one: one.found.peaks.mean())
                joints = clearest.found.keypoints_px[:, :2].astype(float)
                box = np.concatenate([joints.min(axis=0), joints.max(axis=0)])
                shoulders, hips = (joints[TORSO[at : at + 2]].mean(axis=0) for at in (0, 2))
                person = score_scenes.Somebody(box, shoulders, hips)
                for cut in score_scenes.views("treadmill", image, person, chance, held_out=False):
                    self.add(cut)


def _is(sighting: Sighting, cut: Cut) -> bool:
    if cut.middle_px is None:
        return False
    middle = sighting.found.keypoints_px[TORSO, :2].mean(axis=0)
    return bool(np.hypot(*(middle - cut.middle_px)) < SAME_TORSO * cut.torso_px)


def fit(features: NDArray[np.float64], kinds: NDArray[np.int_]) -> NDArray[np.float64]:
    """Logistic regression by Newton's method, each kind with its share of the weight: the bias, then each column."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    columns = np.column_stack([np.ones(len(features)), (features - mean) / spread])
    people = kinds == 0
    weight = len(kinds) * (np.array(SHARES) / np.bincount(kinds, minlength=len(SHARES)))[kinds]
    ridge = RIDGE * len(people) * np.array([0.0, *np.ones(features.shape[1])])
    found = np.zeros(columns.shape[1])
    for _ in range(100):
        probability = 1 / (1 + np.exp(-columns @ found))
        gradient = columns.T @ (weight * (probability - people)) + ridge * found
        curvature = (columns.T * (weight * probability * (1 - probability))) @ columns + np.diag(ridge + 1e-9)
        found -= np.linalg.solve(curvature, gradient)
    slopes = found[1:] / spread
    return np.array([found[0] - slopes @ mean, *slopes])


def fitted(seen: Sequence[Seen], kept: Sequence[int]) -> NDArray[np.float64]:
    """Weights of some of the columns, the others 0: of each person the clearest look counts, of nobody every one."""
    rows, kinds = [], []
    for one in seen:
        if one.kind:
            rows += list(one.clues)
            kinds += [one.kind] * len(one.clues)
        elif one.right.any():
            rows.append(max(one.clues[one.right], key=lambda row: row[1:][PEAKS].mean()))
            kinds.append(0)
    weights = np.zeros(len(COLUMNS) + 1)
    weights[[0, *(index + 1 for index in kept)]] = fit(np.array(rows)[:, kept], np.array(kinds))
    return weights


def cross_validated(seen: Sequence[Seen], kept: Sequence[int]) -> tuple[float, float, float]:
    """Shares of people found and of animals taken for them at `FALSE_SHARE`, and from which log-odds on that is."""
    names = sorted({one.cut.picture for one in seen})
    fold = {name: number % FOLDS for number, name in enumerate(names)}
    likely: list[list[float]] = [[], [], []]
    for number in range(FOLDS):
        weights = fitted([one for one in seen if fold[one.cut.picture] != number], kept)
        for one in seen:
            if fold[one.cut.picture] == number:
                likely[one.kind].append(one.best(weights))
    threshold = sorted(likely[1], reverse=True)[int(FALSE_SHARE * len(likely[1]))]
    people, animals = (float(np.mean(np.array(likely[kind]) > threshold)) for kind in (0, 2))
    return people, animals, threshold


def source(name: str, weights: NDArray[np.float64]) -> str:
    """The weights as `edge/evidence.py` has them."""
    bias, detector, *clues = (f"{value:.2f}" for value in weights)
    ends = np.cumsum([2, len(PARTS), len(PARTS), len(LENGTHS)])
    groups = ", ".join(f"({', '.join(group)})" for group in map(list, np.split(clues, ends[:-1])))
    return f"{name}: Weights(bias={bias}, detector={detector}, clues=_clues({groups}))"


def report(looks: Looks, held_out: Looks) -> None:
    """Print everything about one model."""
    everything = list(range(len(COLUMNS)))
    weights = fitted(looks.seen, everything)
    print(source(f'("{looks.variant}", "{looks.precision}")', weights))
    people, empty, animals = ([one for one in looks.seen if one.kind == kind] for kind in range(3))
    seen_at_all = np.mean([one.right.any() for one in people])
    print(
        f"  {len(people)} views of people, {seen_at_all:.3f} of them seen at all; "
        f"{len(empty)} of nobody, {len(animals)} of animals"
    )
    found, taken, threshold = cross_validated(looks.seen, everything)
    print(
        f"  cross-validated: {found:.3f} found and {taken:.3f} of animals at {FALSE_SHARE:.3f} false, "
        f"which is log-odds {threshold:.2f}"
    )
    for name, group in GROUPS.items():
        kept = [index for index in everything if COLUMNS[index] not in group]
        found, taken, _ = cross_validated(looks.seen, kept)
        print(f"  without {name}: {found:.3f} found, {taken:.3f} of animals")
    for limit in (0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.98):
        odds = np.log(limit / (1 - limit))
        shares = [
            np.mean([one.best(weights) >= odds for one in held_out.seen if one.kind == kind]) for kind in range(3)
        ]
        print(
            f"  held out, from {limit:.2f} on: {shares[0]:.3f} of people found, {shares[1]:.3f} of empty pictures and "
            f"{shares[2]:.3f} of animals false"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit the models that are named, or all."""
    parser = argparse.ArgumentParser(description="The score's weights.")
    parser.add_argument("models", nargs="*", default=MODELS, help="VARIANT:PRECISION")
    cv2.setNumThreads(1)
    for model in parser.parse_args(arguments).models:
        variant, _, precision = model.partition(":")
        looks, held_out = Looks(variant, precision), Looks(variant, precision)
        for scenes in (score_scenes.annotated, score_scenes.empty, score_scenes.animals):
            for kept, aside in ((looks, False), (held_out, True)):
                for cut in scenes(held_out=aside):
                    kept.add(cut)
        for cut in score_scenes.walkers():
            looks.add(cut)
        looks.treadmill()
        report(looks, held_out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
