"""Who is followed, and whether the detector must run. The only place that decides; it sees numbers, never pixels."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Final

from edge.pose import PoseSource, Roi

# A detection whose square overlaps a held person's this much (IoU, rotation left aside) is that person.
SAME_PERSON_IOU: Final = 0.3
# A square smaller than this holds nothing that a model could see.
MIN_SIDE_PX: Final = 2.0


@dataclass(slots=True)
class Person:
    """Somebody who is followed.

    Attributes:
        id: never given to anybody else in this run.
        roi: where to look in the next frame.
        source: whether `roi` came from the detector or from the person's own landmarks.
    """

    id: int
    roi: Roi
    source: PoseSource


class Tracker:
    """Detect once, then follow.

    Args:
        max_people: how many are followed at once.
        min_presence: a person whose pose presence falls below this is lost, 0 to 1.
        search_interval_s: while somebody is held and there is room for more, the detector runs this often.
        idle_interval_s: while nobody is held and nothing moves, the detector runs this often; 0 is every frame.
    """

    def __init__(
        self, max_people: int, min_presence: float, search_interval_s: float, idle_interval_s: float = 0.0
    ) -> None:
        self.people: list[Person] = []
        self._max_people = max_people
        self.min_presence = min_presence
        self._search_interval_s = search_interval_s
        self._idle_interval_s = idle_interval_s
        self._searched_s = -math.inf
        self._ids = count(1)

    def wants_detection(self, time_s: float, moved: Callable[[], bool] = lambda: True) -> bool:
        """Whether the detector should look at the frame captured at this time.

        Args:
            time_s: the frame's capture time.
            moved: says whether anything has moved since the detector last looked; asked only if the answer matters.
        """
        waited_s = time_s - self._searched_s
        if not self.people:
            return waited_s >= self._idle_interval_s or moved()
        return len(self.people) < self._max_people and waited_s >= self._search_interval_s

    def add(self, candidates: Iterable[Roi], time_s: float) -> None:
        """Take up the people whom the detector saw, best first, as far as there is room and they are not held yet."""
        self._searched_s = time_s
        for roi in candidates:
            if len(self.people) >= self._max_people:
                return
            if _usable(roi) and not any(square_iou(roi, held.roi) >= SAME_PERSON_IOU for held in self.people):
                self.people.append(Person(next(self._ids), roi, "detected"))

    def update(self, person: Person, presence: float, next_roi: Roi) -> bool:
        """Say what the landmark model saw where this person should be.

        Returns:
            Whether the person is there; if not, the person is dropped.
        """
        if presence < self.min_presence or not math.isfinite(presence) or not _usable(next_roi):
            self.people.remove(person)
            self._searched_s = -math.inf  # whoever was just lost is looked for at once
            return False
        person.roi, person.source = next_roi, "tracked"
        return True

    def forget(self) -> None:
        """Drop everybody, so that the next frame is searched anew."""
        self.people.clear()
        self._searched_s = -math.inf


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


def _usable(roi: Roi) -> bool:
    return all(map(math.isfinite, (roi.x_px, roi.y_px, roi.rotation_rad))) and MIN_SIDE_PX <= roi.side_px < math.inf
