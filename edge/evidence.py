"""How likely is it that this is a person? Measured evidence, added up as log-odds.

Presence does not tell people from furniture: the model gives a bowl of fruit 0.98. What does is the mean of the
heatmap's peaks (`Landmarks.peak`), and how sure the detector was when it last looked. With these two known, presence
adds nothing.
"""

import math
from dataclasses import dataclass
from typing import Final

# A detector's score as a logit is cut off here: nothing seen is as good as a score of 0.05.
LOWEST_LOGIT, HIGHEST_LOGIT = -3.0, 3.0
UNSEEN: Final = LOWEST_LOGIT


@dataclass(frozen=True, slots=True)
class Weights:
    """A logistic fit: log-odds = bias + peak x (mean of the heatmap's peaks) + detector x (logit of its score)."""

    bias: float
    peak: float
    detector: float

    def log_odds(self, peak: float, detector_logit: float) -> float:
        """Log-odds that this is a person; minus infinity for what is no number."""
        value = self.bias + self.peak * peak + self.detector * detector_logit
        return value if math.isfinite(value) else -math.inf


# Fitted by `python -m tests.benchmarks.fit_score` on scenes that score nothing. A precision that is not named has its
# float model's weights, a model that is not named those of full.
WEIGHTS: Final = {
    ("lite", "float16"): Weights(-6.32, 17.5, 0.69),
    ("lite", "int8"): Weights(-7.20, 19.3, 0.61),
    ("full", "float16"): Weights(-5.78, 14.7, 0.50),
    ("full", "int8"): Weights(-7.93, 18.5, 0.55),
}


def score_logit(score: float) -> float:
    """The logit of a detector's score, cut off at both ends."""
    inside = min(max(score, 1e-6), 1.0 - 1e-6)
    return min(max(math.log(inside / (1.0 - inside)), LOWEST_LOGIT), HIGHEST_LOGIT)


def probability(log_odds: float) -> float:
    """Log-odds as a probability."""
    return 0.5 * (math.tanh(0.5 * log_odds) + 1.0)


def weights_for(variant: str, precision: str) -> Weights:
    """The weights of a landmark model."""
    exact = WEIGHTS.get((variant, precision.removesuffix("-full")))
    return exact or WEIGHTS.get((variant, "float16"), WEIGHTS["full", "float16"])
