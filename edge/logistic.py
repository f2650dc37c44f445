"""Logits to probabilities and back."""

import numpy as np
from numpy.typing import NDArray


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logistic function, element by element; 0 and 1 at the far ends."""
    # By way of the hyperbolic tangent, which cannot overflow: 1 / (1 + exp(-x)) = (tanh(x / 2) + 1) / 2.
    probabilities: NDArray[np.float32] = np.tanh(logits * np.float32(0.5))
    probabilities += np.float32(1)
    probabilities *= np.float32(0.5)
    return probabilities


def logit(probability: float) -> float:
    """The logit whose sigmoid is the probability; infinite at 0 and 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(probability) - np.log1p(-np.float64(probability)))
