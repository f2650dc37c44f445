"""Who is who: whether two looks are at one person, and whether somebody who comes back was here before."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.pose import Roi

# Two looks are at one person if half of the joints lie within this share of the region's side of each other. The same
# person seen from two regions: below .04; two who walk side by side: above .12.
SAME_JOINTS: Final = 0.08
# Positions are kept for so long.
TRAIL_S: Final = 1.0
# When two tracks have met, where each was going is judged without the positions of so long: they may be the other's.
BEFORE_MEETING_S: Final = 0.3
# Nobody keeps a direction for longer than this unseen.
STRAIGHT_S: Final = 0.7
# Somebody who was lost may come back as the same id for so long.
MEMORY_S: Final = 2.0
# How far from the expected place, in sides of the region: at once, and more for each second that has passed.
REACH, REACH_PER_S = 0.3, 0.5
# A person who comes back is at most so many times as large or small.
MAX_SCALING: Final = 1.6


@dataclass(slots=True)
class Trail:
    """Where somebody has been: time, x, y and side of the region, the oldest first."""

    points: deque[tuple[float, float, float, float]] = field(default_factory=deque)

    def add(self, time_s: float, roi: Roi) -> None:
        """Take note of a position."""
        self.points.append((time_s, roi.x_px, roi.y_px, roi.side_px))
        while self.points[0][0] < time_s - TRAIL_S:
            self.points.popleft()

    def age_s(self) -> float:
        """For how long this person has been followed, as far as is known."""
        return self.points[-1][0] - self.points[0][0]

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


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody who was followed until `time_s`."""

    id: int
    trail: Trail
    time_s: float


class Memory:
    """Who was lost lately, so that they are known when they come back."""

    def __init__(self) -> None:
        self._lost: list[Lost] = []

    def keep(self, person_id: int, trail: Trail, time_s: float) -> None:
        """Remember somebody who is lost."""
        self._lost.append(Lost(person_id, trail, time_s))

    def recall(self, roi: Roi, time_s: float) -> int | None:
        """The id of whoever was expected in this region, who is then no longer remembered; None for a new face."""
        self._lost = [lost for lost in self._lost if 0 <= time_s - lost.time_s <= MEMORY_S]
        reachable = [
            (surprise, lost)
            for lost in self._lost
            if (surprise := lost.trail.surprise(roi, time_s)) <= REACH + REACH_PER_S * (time_s - lost.time_s)
        ]
        if not reachable:
            return None
        _, best = min(reachable, key=lambda entry: entry[0])
        self._lost.remove(best)
        return best.id

    def forget(self) -> None:
        """Remember nobody."""
        self._lost.clear()


def same_joints(first_px: NDArray[np.float32], second_px: NDArray[np.float32], side_px: float) -> bool:
    """Whether two poses, shape (33, 2) or wider, are of one person whose region has this side."""
    apart = np.hypot(*(first_px[:, :2] - second_px[:, :2]).T)
    return float(np.median(apart)) < SAME_JOINTS * side_px


def intruder(first: Trail, second: Trail, region: Roi, time_s: float) -> int:
    """Which of two tracks that have met on one person, in this region, is there by mistake: 0 or 1."""
    ages_s = first.age_s(), second.age_s()
    if min(ages_s) <= BEFORE_MEETING_S:
        return 0 if ages_s[0] < ages_s[1] else 1
    until_s = time_s - BEFORE_MEETING_S
    surprises = [trail.surprise(region, time_s, until_s) for trail in (first, second)]
    return 0 if surprises[0] > surprises[1] else 1


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
