"""Does it move as living people do? Joints of a person go somewhere; joints seen in furniture tremble where they are.

Over 0.3 s at 30 frames per second, the way from start to end is 6 to 14 mean steps in the median of people who stand,
walk or jump (the lowest twentieth of them 2.2 to 8.5), and 1.5 in what is no person, under a camera's noise (the
highest twentieth 2.7).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

# So much of it takes a person, in mean steps.
ALIVE: Final = 3.0
# Whoever lies or is turned must do so in so many frames running: in one a thing does so by chance, and things are
# taken for people at any angle. Of 12 s of a mountain in a camera's noise lite took 31 % for a person with one frame,
# 10 % with two.
IN_A_ROW: Final = 2
# It is judged over no more than this time and so many steps, whichever is longer; then anew.
WINDOW_S: Final = 0.5
WINDOW_STEPS: Final = 8


class Liveness:
    """Watches one person's joints."""

    def __init__(self) -> None:
        self._start_px: NDArray[np.float32] | None = None
        self._last_px = np.empty(0, np.float32)
        self._start_s = 0.0
        self._path_px = 0.0
        self._steps = 0
        self._moved = 0

    def alive(self, points_px: NDArray[np.float32], time_s: float, *, upright: bool) -> bool:
        """Take note of the joints, shape (N, 2), of one more frame; whether they have moved as a person does.

        Args:
            points_px: joints in frame px.
            time_s: of the frame.
            upright: whether they look like somebody upright; others must move so in `IN_A_ROW` frames running.
        """
        old = time_s - self._start_s > WINDOW_S and self._steps >= WINDOW_STEPS
        if self._start_px is None or old:
            self._start_px, self._last_px, self._start_s = points_px, points_px, time_s
            self._path_px, self._steps = 0.0, 0
            return False
        self._path_px += _apart_px(points_px, self._last_px)
        self._last_px = points_px
        self._steps += 1
        moved = _apart_px(points_px, self._start_px) * self._steps >= ALIVE * self._path_px > 0
        self._moved = self._moved + 1 if moved else 0
        return self._moved >= (1 if upright else IN_A_ROW)


def _apart_px(first_px: NDArray[np.float32], second_px: NDArray[np.float32]) -> float:
    difference = first_px - second_px
    return float(np.median(np.hypot(difference[:, 0], difference[:, 1])))
