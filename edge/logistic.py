"""Logits to probabilities and back."""

import numpy as np
from numpy.typing import NDArray


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logistic function, element by element; 0 and 1 at the far ends, without a warning."""
    with np.errstate(over="ignore"):
        probabilities: NDArray[np.float32] = 1.0 / (1.0 + np.exp(-logits, dtype=np.float32))
    return probabilities


def logit(probability: float) -> float:
    """The logit whose sigmoid is the probability; infinite at 0 and 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(probability) - np.log1p(-np.float64(probability)))
