"""Parts of the frame in which the detector is shown larger whom it sees too small in all of it."""

import math
from typing import Final

import numpy as np

from edge.pose import Frame, Roi

# How large they are, as shares of the frame's larger side. With the first size alone lite finds .846 instead of .860 of
# the views of people in `tests/benchmarks/fit_score` where 3.5 % of the pictures of nobody show somebody, full .893
# instead of .911, by cross-validation; without parts .832 and .852.
SHARES: Final = (0.625, 0.42)


def squares(frame: Frame, share: float) -> list[Roi]:
    """Upright squares that cover the frame, evenly spread and no more than needed.

    Args:
        frame: what to cover.
        share: each one's side as a share of the frame's larger side; a frame that is lower lies in the square's middle.
    """
    side_px = share * max(frame.width_px, frame.height_px)
    columns, rows = (_centers_px(length_px, side_px) for length_px in (frame.width_px, frame.height_px))
    return [Roi(x_px, y_px, side_px, 0.0) for y_px in rows for x_px in columns]


def _centers_px(length_px: int, side_px: float) -> list[float]:
    """Where along a length the centres of squares lie that cover it."""
    if length_px <= side_px:
        return [length_px / 2]
    centers_px: list[float] = np.linspace(side_px / 2, length_px - side_px / 2, math.ceil(length_px / side_px)).tolist()
    return centers_px
