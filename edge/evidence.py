"""How likely is it that this is a person? Measured clues, added up as log-odds.

No single one tells people from furniture: the model gives a bowl of fruit a presence of 0.98. Nor does one tell them
from a dog, whose legs and head the heatmap shows as clearly as a person's. Together they do: how clearly it shows each
part of the body and how present the model says that part is, how long the limbs are and whether they point where a
body's do, and how sure the detector was when it last looked. Which clues count was measured:
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
# What one look of the landmark model tells, or the mean of several, shape (28,), float64, in this order: the model's
# own opinion, a logit; how far the ankles are below the knees along the body, in sides of the region; the mean of each
# part's highest confidences in the heatmap, 0 to 1; the mean of its keypoints' presences, logits; and lengths, the mean
# of the left and the right one, in sides of the region.
Clues = NDArray[np.float64]
NAMES: Final = (
    "presence",
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
_LOWER_LEG = list(LENGTHS).index("lower leg")
_LEAST_SHARE = 1.0 / (1.0 + math.exp(MOST_PRESENCE))


@dataclass(frozen=True, slots=True)
class Weights:
    """A logistic fit: log-odds = bias + the weighted sum of the detector's logit and of the clues, shape (28,)."""

    bias: float
    detector: float
    clues: NDArray[np.float64]

    def log_odds(self, clues: Clues, detector_logit: float) -> float:
        """Log-odds that this is a person; minus infinity for what is no number."""
        value = self.bias + self.detector * detector_logit + float(self.clues @ clues)
        return value if math.isfinite(value) else -math.inf


def _clues(*groups: tuple[float, ...]) -> NDArray[np.float64]:
    """Weights of the clues in the order of `NAMES`: of the first two, the peaks, the parts' presences, the lengths."""
    return np.array([value for group in groups for value in group])


_LITE: Final = Weights(
    bias=-11.87,
    detector=0.51,
    clues=_clues(
        (0.26, 8.62),
        (5.11, -1.21, 2.91, 3.31, 1.42, 4.04, 7.48, -4.24),
        (-0.02, 0.25, -0.02, -0.16, 0.13, -0.10, -0.10, -0.13),
        (7.11, -18.37, 2.64, 20.57, -3.47, -9.67, 9.77, -4.07, 27.67, 8.07),
    ),
)
_FULL: Final = Weights(
    bias=-14.60,
    detector=0.38,
    clues=_clues(
        (0.22, 6.74),
        (7.17, -2.00, 3.42, 2.40, 2.32, 1.53, 7.20, -1.76),
        (-0.02, 0.11, 0.01, -0.10, 0.10, -0.03, -0.14, -0.15),
        (-4.11, -12.26, 2.76, 29.48, -10.93, -5.05, 9.66, 8.32, 33.39, 4.04),
    ),
)
# Fitted by `python -m tests.benchmarks.fit_score` on scenes that score nothing, with the int8 models; the float models
# have the same. A precision that is not named has its float model's weights, a model that is not named those of full.
WEIGHTS: Final = {
    ("lite", "float16"): _LITE,
    ("lite", "int8"): _LITE,
    ("full", "float16"): _FULL,
    ("full", "int8"): _FULL,
}


def clues_of(found: Landmarks, region: Roi) -> Clues:
    """What a look at a region tells."""
    left, right = (_WAYS @ found.keypoints_px[:, :2]).reshape(2, len(LENGTHS), 2)
    x, y = (left[_LOWER_LEG] + right[_LOWER_LEG]).tolist()
    below = (y * math.cos(region.rotation_rad) - x * math.sin(region.rotation_rad)) / (2 * region.side_px)
    lengths = np.hypot(left[:, 0], left[:, 1]) + np.hypot(right[:, 0], right[:, 1])
    presences = np.minimum(np.maximum(found.keypoints_px[:, 4], _LEAST_SHARE), 1.0 - _LEAST_SHARE)
    return np.concatenate(
        [
            (_logit(found.presence, MOST_PRESENCE), below),
            _MEANS @ found.peaks,
            _MEANS @ np.log(presences / (1.0 - presences)),
            lengths / (2 * region.side_px),
        ]
    )


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


def weights_for(variant: str, precision: str) -> Weights:
    """The weights of a landmark model."""
    exact = WEIGHTS.get((variant, precision.removesuffix("-full")))
    return exact or WEIGHTS.get((variant, "float16"), WEIGHTS["full", "float16"])


def _logit(share: float, most: float) -> float:
    inside = min(max(share, 1e-6), 1.0 - 1e-6)
    return min(max(math.log(inside / (1.0 - inside)), -most), most)
