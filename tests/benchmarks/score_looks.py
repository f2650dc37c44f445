"""Both models over the scenes that the score is fitted on, by the way in which the product finds people."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.acquisition import Sighting
from edge.config import TrackerSettings
from edge.config_load import load
from edge.detector import Detector
from edge.estimator import PoseEstimator, finder_in
from edge.evidence import NAMES, Weights
from edge.manifest import ModelStore
from edge.pose import TORSO, Frame, Landmarks, Roi
from edge.roi import sample
from models.build import clips, int8, person_head
from models.build.crops import LANDMARK_SIDE
from models.build.runner import Runner
from models.build.upstream import UPSTREAM
from tests.benchmarks import score_scenes
from tests.benchmarks.score_scenes import Cut, Image

# What the head makes of a crop is not looked at: it is fitted.
CLUES: Final = tuple(name for name in NAMES if name != "person")
OTHERS: Final = [index for index, name in enumerate(NAMES) if name != "person"]
# For the looks themselves nothing is hopeless.
INDIFFERENT: Final = Weights(0.0, 0.0, np.zeros(len(NAMES)))
# A look is at the annotated person if the middle of its torso is so near to theirs, in torsos.
SAME_TORSO: Final = 0.5
# Of one look in so many all cells of the features are kept.
KEPT_CELLS: Final = 24


@dataclass
class Seen:
    """What was seen in one cut: a row for everybody, and which of them are the annotated person.

    A row has the detector's logit, the clues without the head's, and the mean of each feature, all looks' mean. `costs`
    are what those who were found in a part of the picture have less for them.
    """

    cut: Cut
    clues: NDArray[np.float64]
    costs: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def kind(self) -> int:
        """What is in the cut: 0 a person, 1 nobody, 2 an animal."""
        return 0 if self.cut.middle_px is not None else 1 + self.cut.animal

    def best(self, weights: NDArray[np.float64]) -> float:
        """Log-odds of the person, or of the likeliest nobody; bias first."""
        log_odds = weights[0] + self.clues @ weights[1:] - self.costs
        if self.cut.middle_px is not None:
            log_odds = log_odds[self.right]
        return float(log_odds.max(initial=-np.inf))


@dataclass(frozen=True)
class Seeing:
    """Somebody who was seen, what it costs that it was in a part of the picture, and every region looked at."""

    sighting: Sighting
    cost: float
    looked: tuple[Roi, ...]


@dataclass
class Looks:
    """Both models over cuts.

    Attributes:
        variant: of the landmark model; `precision` is of both, `int8` or `int8-full`.
        seen: what was seen in each cut.
        cells: of some looks the features of each cell, shape (64, C), in upstream's units.
        kept: which of upstream's features an int8 model has, C of them.
    """

    variant: str
    precision: str
    seen: list[Seen] = field(default_factory=list)
    cells: list[NDArray[np.float32]] = field(default_factory=list)

    def __post_init__(self) -> None:
        overrides = {"model.model": self.variant, "model.precision": self.precision, "model.threads": 1}
        settings = load(overrides=overrides, environment={}).settings
        self._rules: TrackerSettings = settings.tracker
        estimator = PoseEstimator(settings)
        self._detector = Detector(estimator.detector_model, self._rules.candidate_score)
        self._landmarks = estimator._landmarks
        store = ModelStore()
        self._runner = Runner(person_head.exposed(store.read(store.find("landmarks", self.variant, self.precision))))
        float16 = store.read(store.find("landmarks", self.variant, "float16"))
        _, _, factors = int8.prepare(UPSTREAM[self.variant], self.precision, float16)
        assert factors is not None
        self.kept, self._factors = factors > 0, factors[factors > 0]
        self._looked = 0

    def at(self, image: Image) -> list[Seeing]:
        """Everybody whom the landmark model sees anything of, also again and again."""
        frame = Frame(np.ascontiguousarray(image), 0.0, 0.0, 0.0)
        looked: list[Roi] = []

        def look(region: Roi) -> Landmarks:
            looked.append(region)
            self._landmarks.load(frame, region)
            return self._landmarks.infer(region)

        detect = partial(self._detector.detect, frame)
        finder = finder_in(frame, INDIFFERENT, self._rules.min_presence, look, detect)
        detections = self._detector.detect(frame)
        people = []
        for region, logit, cost in finder._candidates(detections, self._rules.candidates, thorough=True):
            looked.clear()
            sighting = finder._see_closely(region, logit, detections, thorough=True)
            if finder._somebody(sighting):
                people.append(Seeing(sighting, cost, tuple(looked)))
        return people

    def add(self, cut: Cut) -> None:
        """Look at a cut."""
        people = self.at(cut.image)
        rows = [
            (one.sighting.detector_logit, *one.sighting.clues[OTHERS], *self._features(cut.image, one.looked))
            for one in people
        ]
        clues = np.array(rows).reshape(len(rows), 1 + len(CLUES) + len(self._factors))
        costs = np.array([one.cost for one in people])
        right = np.array([_is(one.sighting, cut) for one in people], bool)
        self.seen.append(Seen(cut, clues, costs, right))

    def _features(self, image: Image, regions: Sequence[Roi]) -> NDArray[np.float32]:
        """Mean of each feature over the cells of all regions, shape (C,)."""
        frame = Frame(np.ascontiguousarray(image), 0.0, 0.0, 0.0)
        crop = np.empty((LANDMARK_SIDE, LANDMARK_SIDE, 3), np.uint8)
        means = []
        for region in regions:
            sample(frame, region, crop, zero_border=False)
            features = self._runner(crop[:, :, ::-1])[person_head.FEATURES][0] / self._factors
            if self._looked % KEPT_CELLS == 0:
                self.cells.append(features.reshape(-1, features.shape[-1]))
            self._looked += 1
            means.append(features.mean(axis=(0, 1)))
        mean: NDArray[np.float32] = np.mean(means, axis=0)
        return mean

    def treadmill(self) -> None:
        """A man on a treadmill, seen by four cameras; where he is, the clearest look tells."""
        for number in (1, 2, 3, 4):
            path = f"Pose2Sim/Demo_SinglePerson/videos/cam0{number}.mp4"
            chance = random.Random(number)  # noqa: S311 -- no secret
            for picture in clips.frames(clips.extracted(clips.POSE2SIM, path), score_scenes.STEP_TREADMILL):
                image = score_scenes.smaller(picture[:, :, ::-1], 960)
                clearest = max((one.sighting for one in self.at(image)), key=lambda one: one.found.peaks.mean())
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
