"""How likely is it that this is a person? Measured clues, added up as log-odds.

No single one tells people from furniture: the model gives a bowl of fruit a presence of 0.98. Nor does one tell them
from a dog, whose legs and head the heatmap shows as clearly as a person's. Together they do: how clearly it shows each
part of the body and how present the model says that part is, how long the limbs are and whether they point where a
body's do, how sure the detector was when it last looked, and how much like a person it looks to a head that edge-pose
adds to the model (`person`; models/build/person_head.py). Which clues count was measured:
`python -m tests.benchmarks.fit_score`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.pose import NUM_KEYPOINTS, Landmarks, Roi

# A detector's score as a logit is cut off here: nothing seen is as good as a score of 0.03.
LOWEST_LOGIT, HIGHEST_LOGIT = -3.5, 3.5
UNSEEN: Final = LOWEST_LOGIT
# So is a presence, which the model gives as next to 0 or 1 far too often.
MOST_PRESENCE: Final = 6.0

# The keypoints of each part of the body, as ranges of their numbers.
PARTS: Final = {
    "head": range(11),
    "shoulders": range(11, 13),
    "elbows": range(13, 15),
    "hands": range(15, 23),
    "hips": range(23, 25),
    "knees": range(25, 27),
    "ankles": range(27, 29),
    "feet": range(29, 33),
}
# From which keypoint to which a length is measured, on the left and on the right.
LENGTHS: Final = {
    "between the shoulders": ((11, 12), (11, 12)),
    "between the hips": ((23, 24), (23, 24)),
    "trunk": ((11, 23), (12, 24)),
    "upper arm": ((11, 13), (12, 14)),
    "forearm": ((13, 15), (14, 16)),
    "thigh": ((23, 25), (24, 26)),
    "lower leg": ((25, 27), (26, 28)),
    "neck": ((0, 11), (0, 12)),
    "between the ears": ((7, 8), (7, 8)),
    "foot": ((27, 31), (28, 32)),
}
# What one look of the landmark model tells, or the mean of several, shape (29,), float64, in this order: the model's
# own opinion, a logit; that of our own head, a logit; how far the ankles are below the knees along the body, in sides
# of the region; the mean of each part's highest confidences in the heatmap, 0 to 1; the mean of its keypoints'
# presences, logits; and lengths, the mean of the left and the right one, in sides of the region.
Clues = NDArray[np.float64]
NAMES: Final = (
    "presence",
    "person",
    "ankles below knees",
    *(f"peak of {part}" for part in PARTS),
    *(f"presence of {part}" for part in PARTS),
    *LENGTHS,
)

# Multiplied with a value for each keypoint: each part's mean; and the way from one end of each length to the other, on
# the left side of all lengths, then on the right.
_MEANS = np.array([[(joint in part) / len(part) for joint in range(NUM_KEYPOINTS)] for part in PARTS.values()])
_WAYS = np.array(
    [
        [float(joint == sides[side][1]) - float(joint == sides[side][0]) for joint in range(NUM_KEYPOINTS)]
        for side in (0, 1)
        for sides in LENGTHS.values()
    ]
)
_PEAKS, _PRESENCES, _LENGTHS = (
    slice(3, 3 + len(PARTS)),
    slice(3 + len(PARTS), 3 + 2 * len(PARTS)),
    slice(-len(LENGTHS), None),
)
_LOWER_LEG = list(LENGTHS).index("lower leg")
_LEAST_SHARE = 1.0 / (1.0 + math.exp(MOST_PRESENCE))


@dataclass(frozen=True, slots=True)
class Weights:
    """A logistic fit: log-odds = bias + the weighted sum of the detector's logit and of the clues, shape (29,).

    `alone` is how much less that is in a picture by itself, of which many more places are looked at than of a film's
    frame. With it 3.5 % of the pictures without people that were fitted on show somebody at `min_score`, by
    cross-validation, where MediaPipe's lite shows somebody in 4.1 % and its full in 3.5 %.
    """

    bias: float
    detector: float
    clues: NDArray[np.float64]
    alone: float = 0.0

    def log_odds(self, clues: Clues, detector_logit: float) -> float:
        """Log-odds that this is a person; minus infinity for what is no number."""
        value = self.bias + self.detector * detector_logit + float(self.clues @ clues)
        return value if math.isfinite(value) else -math.inf


def _clues(*groups: tuple[float, ...]) -> NDArray[np.float64]:
    """Weights of the clues in the order of `NAMES`: of the first three, peaks, the parts' presences, lengths."""
    return np.array([value for group in groups for value in group])


# Fitted by `python -m tests.benchmarks.fit_score` on scenes that score nothing, with the int8 models; the other
# precisions have the same. heavy's are of the fit before, by the last look alone and without parts of pictures. A model
# that is not named has those of full.
WEIGHTS: Final = {
    "lite": Weights(
        bias=-13.13,
        detector=0.57,
        clues=_clues(
            (0.10, 1.0, 1.83),
            (6.14, 0.98, 4.43, 4.06, 4.54, 6.41, 9.59, -3.51),
            (0.00, 0.19, -0.05, -0.28, 0.00, -0.04, -0.05, -0.10),
            (-2.54, 2.68, -4.16, 3.21, -5.31, -6.90, 2.93, 3.17, 11.98, 16.83),
        ),
        alone=0.4,
    ),
    "full": Weights(
        bias=-14.68,
        detector=0.82,
        clues=_clues(
            (0.18, 1.0, 2.32),
            (5.22, 3.26, 7.50, 3.45, 3.25, 4.58, 6.72, -1.81),
            (0.05, 0.05, 0.03, -0.14, -0.03, -0.09, -0.07, -0.10),
            (0.52, -10.48, -3.51, 17.98, -13.98, -8.24, 10.18, -3.30, 8.89, 0.87),
        ),
    ),
    "heavy": Weights(
        bias=-13.15,
        detector=0.38,
        clues=_clues(
            (-0.01, 1.0, 11.33),
            (4.58, -0.24, 3.30, 3.07, 2.25, 4.67, 5.76, -3.36),
            (-0.05, 0.30, 0.01, -0.16, 0.08, -0.09, -0.11, -0.11),
            (-6.67, -12.66, 7.44, 14.46, -6.13, -6.90, 3.71, 8.59, 45.08, 11.79),
        ),
    ),
}


def clues_of(found: Landmarks, region: Roi) -> Clues:
    """What a look at a region tells."""
    ways = _WAYS @ found.keypoints_px[:, :2]
    x, y = (ways[_LOWER_LEG] + ways[len(LENGTHS) + _LOWER_LEG]).tolist()
    below = (y * math.cos(region.rotation_rad) - x * math.sin(region.rotation_rad)) / (2 * region.side_px)
    left_and_right = np.hypot(ways[:, 0], ways[:, 1])
    lengths = left_and_right[: len(LENGTHS)] + left_and_right[len(LENGTHS) :]
    presences = np.minimum(np.maximum(found.keypoints_px[:, 4], _LEAST_SHARE), 1.0 - _LEAST_SHARE)
    clues = np.empty(len(NAMES))
    clues[:3] = _logit(found.presence, MOST_PRESENCE), found.person, below
    clues[_PEAKS] = _MEANS @ found.peaks
    clues[_PRESENCES] = _MEANS @ np.log(presences / (1.0 - presences))
    clues[_LENGTHS] = lengths / (2 * region.side_px)
    return clues


def mean_clues(looks: Sequence[Clues]) -> Clues:
    """The mean of several looks."""
    mean: Clues = np.mean(looks, axis=0)
    return mean


def score_logit(score: float) -> float:
    """The logit of a detector's score, cut off at both ends."""
    return _logit(score, HIGHEST_LOGIT)


def probability(log_odds: float) -> float:
    """Log-odds as a probability."""
    return 0.5 * (math.tanh(0.5 * log_odds) + 1.0)


def weights_for(variant: str) -> Weights:
    """The weights of a landmark model."""
    return WEIGHTS.get(variant, WEIGHTS["full"])


def _logit(share: float, most: float) -> float:
    inside = min(max(share, 1e-6), 1.0 - 1e-6)
    return min(max(math.log(inside / (1.0 - inside)), -most), most)
