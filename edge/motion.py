"""Has anything moved? A coarse, cheap look, so that an empty room does not cost a detector run a frame."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.pose import Frame
from edge.roi import warp

# A person far enough to be three of these cells high is too far for the detector, which sees 224 px.
THUMBNAIL_PX: Final = (80, 60)
# A cell has changed if it differs by at least so many grey levels. In the dark everything differs, by noise, so the
# limit rises with the change that four fifths of the cells stay below; but not beyond what is plainly more than noise,
# since somebody close may fill half the picture.
MIN_CHANGE: Final = 12.0
MAX_CHANGE: Final = 40.0
NOISE_FACTOR: Final = 4.0
# So many of the 4800 cells must have changed.
MIN_CELLS: Final = 8


class MotionGate:
    """Compares frames with a reference frame."""

    def __init__(self) -> None:
        self._reference: NDArray[np.uint8] | None = None

    def keep(self, frame: Frame) -> None:
        """Make this frame the one that others are compared with."""
        self._reference = _thumbnail(frame)

    def moved(self, frame: Frame) -> bool:
        """Whether something has moved since the reference frame; True if there is none."""
        if self._reference is None:
            return True
        change = cv2.absdiff(_thumbnail(frame), self._reference)
        usual = float(np.percentile(change, 80))
        limit = min(max(MIN_CHANGE, NOISE_FACTOR * usual), MAX_CHANGE)
        return int(np.count_nonzero(change > limit)) >= MIN_CELLS


def _thumbnail(frame: Frame) -> NDArray[np.uint8]:
    """A small grey picture of the frame, shape (60, 80), four samples a cell: its cost hardly grows with size."""
    width_px, height_px = THUMBNAIL_PX
    step_x, step_y = frame.width_px / width_px, frame.height_px / height_px
    to_frame = (step_x, 0.0, (step_x - 1) / 2), (0.0, step_y, (step_y - 1) / 2), (0.0, 0.0, 1.0)
    small = np.empty((height_px, width_px, 3), dtype=np.uint8)
    # As the crops are sampled, and not by resize: a turned camera gives the same thumbnail, to the bit.
    warp(frame, to_frame, small)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
