"""How likely is it that this is a person? Measured clues, added up as log-odds.

No single one tells people from furniture: the model gives a bowl of fruit a presence of 0.98. Together they do: how
clearly the heatmap shows the joints, whether the limbs are where a body has them, and how sure the detector was when
it last looked. Which clues count was measured: `python -m tests.benchmarks.fit_score`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge.pose import Landmarks, Roi

# A detector's score as a logit is cut off here: nothing seen is as good as a score of 0.03.
LOWEST_LOGIT, HIGHEST_LOGIT = -3.5, 3.5
UNSEEN: Final = LOWEST_LOGIT
# So is a presence, which the model gives as next to 0 or 1 far too often.
MOST_PRESENCE: Final = 6.0

# Shoulders, elbows, knees and ankles, the left one first.
_JOINTS = [11, 12, 13, 14, 25, 26, 27, 28]


@dataclass(frozen=True, slots=True)
class Clues:
    """What one look of the landmark model tells, or the mean of several.

    Attributes:
        peak: mean of the heatmap's peaks, 0 to 1.
        presence: the model's own opinion, a logit.
        shins: how far the ankles are below the knees, in sides of the region, along the body.
        upper_arms: their mean length, in sides of the region.
    """

    peak: float
    presence: float
    shins: float
    upper_arms: float


@dataclass(frozen=True, slots=True)
class Weights:
    """A logistic fit: log-odds = bias + the weighted sum of the clues and of the detector's logit."""

    bias: float
    peak: float
    presence: float
    shins: float
    upper_arms: float
    detector: float

    def log_odds(self, clues: Clues, detector_logit: float) -> float:
        """Log-odds that this is a person; minus infinity for what is no number."""
        value = (
            self.bias
            + self.peak * clues.peak
            + self.presence * clues.presence
            + self.shins * clues.shins
            + self.upper_arms * clues.upper_arms
            + self.detector * detector_logit
        )
        return value if math.isfinite(value) else -math.inf


# Fitted by `python -m tests.benchmarks.fit_score` on scenes that score nothing, with the int8 models; the float models
# have the same. A precision that is not named has its float model's weights, a model that is not named those of full.
WEIGHTS: Final = {
    ("lite", "float16"): Weights(-10.41, 14.13, 0.43, 13.02, 35.21, 0.85),
    ("lite", "int8"): Weights(-10.41, 14.13, 0.43, 13.02, 35.21, 0.85),
    ("full", "float16"): Weights(-14.47, 20.98, 0.40, 14.87, 30.59, 0.55),
    ("full", "int8"): Weights(-14.47, 20.98, 0.40, 14.87, 30.59, 0.55),
}


def clues_of(found: Landmarks, region: Roi) -> Clues:
    """What a look at a region tells."""
    left, right, left_elbow, right_elbow, *legs = found.keypoints_px[_JOINTS, :2].tolist()
    cos, sin = math.cos(region.rotation_rad) / region.side_px, math.sin(region.rotation_rad) / region.side_px
    knees, ankles = (legs[0], legs[1]), (legs[2], legs[3])
    x, y = (sum(ankle[axis] - knee[axis] for ankle, knee in zip(ankles, knees, strict=True)) / 2 for axis in (0, 1))
    arms = math.dist(left, left_elbow) + math.dist(right, right_elbow)
    return Clues(
        peak=found.peak,
        presence=_logit(found.presence, MOST_PRESENCE),
        shins=y * cos - x * sin,
        upper_arms=arms / 2 / region.side_px,
    )


def mean_clues(looks: Sequence[Clues]) -> Clues:
    """The mean of several looks."""
    share = 1.0 / len(looks)
    return Clues(
        peak=sum(look.peak for look in looks) * share,
        presence=sum(look.presence for look in looks) * share,
        shins=sum(look.shins for look in looks) * share,
        upper_arms=sum(look.upper_arms for look in looks) * share,
    )


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
