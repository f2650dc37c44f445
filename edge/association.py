"""Whether two looks, regions or detections are of one person, by where they are and were."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.pose import MIRRORED, Roi

# Two looks are at one person if half of the joints lie within this share of the region's side of each other. The same
# person seen from two regions: below .04; two who walk side by side: above .12.
SAME_JOINTS: Final = 0.08
# Positions are kept for so long, and so many however old: two tell a direction.
TRAIL_S: Final = 1.0
FEWEST: Final = 2
# Nobody keeps a direction for longer than this unseen.
STRAIGHT_S: Final = 0.7
# A person who comes back is at most so many times as large or small.
MAX_SCALING: Final = 1.6


@dataclass(slots=True)
class Trail:
    """Where somebody has been: time, x, y and side of the region, the oldest first."""

    points: deque[tuple[float, float, float, float]] = field(default_factory=deque)

    def add(self, time_s: float, roi: Roi) -> None:
        """Take note of a position."""
        self.points.append((time_s, roi.x_px, roi.y_px, roi.side_px))
        while len(self.points) > FEWEST and self.points[0][0] < time_s - TRAIL_S:
            self.points.popleft()

    def age_s(self) -> float:
        """For how long this person has been followed, as far as is known."""
        return self.points[-1][0] - self.points[0][0]

    def until(self, time_s: float) -> "Trail":
        """The part up to a time; the oldest position at least."""
        return Trail(deque([point for point in self.points if point[0] <= time_s] or [self.points[0]]))

    def since(self, time_s: float) -> "Trail":
        """The part from a time on; the newest position at least."""
        return Trail(deque([point for point in self.points if point[0] >= time_s] or [self.points[-1]]))

    def expected(self, time_s: float, until_s: float = math.inf) -> tuple[float, float, float]:
        """Where they would be now, going on as they did until a time: x, y, side."""
        known = [point for point in self.points if point[0] <= until_s] or [self.points[0]]
        first, last = known[0], known[-1]
        span_s = last[0] - first[0]
        if span_s <= 0:
            return last[1:]
        ahead = min(time_s - last[0], STRAIGHT_S) / span_s
        return last[1] + (last[1] - first[1]) * ahead, last[2] + (last[2] - first[2]) * ahead, last[3]

    def surprise(self, roi: Roi, time_s: float, until_s: float = math.inf) -> float:
        """How far a region is from where it was expected, in its sides, its size counted too; infinite for no match."""
        x, y, side = self.expected(time_s, until_s)
        scaling = abs(math.log(roi.side_px / side))
        if scaling > math.log(MAX_SCALING):
            return math.inf
        return math.hypot(roi.x_px - x, roi.y_px - y) / max(roi.side_px, side) + scaling


def same_joints(first_px: NDArray[np.float32], second_px: NDArray[np.float32], side_px: float) -> bool:
    """Whether two poses, shape (33, 2) or wider, are of one person whose region has this side.

    Also where one of them has left for right: the model may take somebody's back for their front.
    """
    return any(
        float(np.median(np.hypot(*(first_px[:, :2] - others_px[:, :2]).T))) < SAME_JOINTS * side_px
        for others_px in (second_px, second_px[MIRRORED])
    )


def square_iou(first: Roi, second: Roi) -> float:
    """Intersection over union of two squares, their rotation left aside."""
    reach = (first.side_px + second.side_px) / 2
    widths = [
        max(0.0, min(reach - abs(a - b), first.side_px, second.side_px))
        for a, b in ((first.x_px, second.x_px), (first.y_px, second.y_px))
    ]
    intersection = widths[0] * widths[1]
    union = first.side_px**2 + second.side_px**2 - intersection
    return intersection / union if union > 0 else 0.0


def nearest(roi: Roi, others: Iterable[Roi], reach: float) -> int | None:
    """Index of the region whose centre is nearest, within `reach` sides and at most twice as large or small."""
    best, best_apart = None, reach
    for index, other in enumerate(others):
        larger = max(roi.side_px, other.side_px)
        apart = math.hypot(roi.x_px - other.x_px, roi.y_px - other.y_px) / larger
        if apart <= best_apart and larger <= 2 * min(roi.side_px, other.side_px):
            best, best_apart = index, apart
    return best
