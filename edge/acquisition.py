"""Finding people: what the detector proposes, looked at by the landmark model, the heatmap as judge. Sees no pixels.

The usual way takes the detector's best box at a score of 0.5, looks once, and believes it. Here it is asked for more
boxes at a lower score. Each is looked at twice, the second time from the region that the first look's landmarks
describe, and whatever the landmark model does not recognise is dropped.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from edge import association, roi
from edge.evidence import Weights, score_logit
from edge.pose import Detection, Landmarks, Roi

Look = Callable[[Roi], Landmarks]

# A first look with less than this for it (log-odds) is not worth a second.
HOPELESS: Final = -4.0
# Beyond these log-odds people are people, and the nearest are taken first: being twice as large is worth so much.
SURE: Final = 3.0
NEARNESS: Final = 1.5


@dataclass(frozen=True, slots=True)
class Sighting:
    """One look of the landmark model.

    Attributes:
        region: where it looked.
        found: what it saw there.
        detector_logit: how sure the detector was of somebody there.
        log_odds: that it is a person.
    """

    region: Roi
    found: Landmarks
    detector_logit: float
    log_odds: float

    def next_region(self) -> Roi:
        """Where this person is looked for in the next frame."""
        return roi.from_auxiliary(self.found.auxiliary_px)


@dataclass(frozen=True, slots=True)
class Finder:
    """Looks at what the detector proposes.

    Attributes:
        weights: of the evidence.
        size_px: the frame's width and height.
        min_presence: what the landmark model gives less than this is nobody.
        look: runs the landmark model on a region of the current frame.
    """

    weights: Weights
    size_px: tuple[int, int]
    min_presence: float
    look: Look

    def once(self, detections: Iterable[Detection], wanted: int) -> list[Sighting]:
        """The plain way: so many of the detector's best are looked at once."""
        regions = ((roi.from_detection(detection), detection.score) for detection in detections)
        chosen = [(region, score) for region, score in regions if roi.usable(region, *self.size_px)][:wanted]
        seen = [self._see(region, score_logit(score)) for region, score in chosen]
        return [sighting for sighting in seen if self._somebody(sighting)]

    def twice(self, detections: Iterable[Detection], held: Sequence[Sighting]) -> list[Sighting]:
        """The people among the detections who are not held yet, the likeliest and nearest first."""
        seen: list[Sighting] = []
        for detection in detections:
            sighting = self._see_twice(detection)
            if sighting is not None and self._somebody(sighting):
                seen.append(sighting)
        seen.sort(key=lambda sighting: -sighting.log_odds)
        people: list[Sighting] = []
        for sighting in seen:
            if not any(same_person(sighting, other) for other in (*held, *people)):
                people.append(sighting)
        return sorted(people, key=_rank)

    def _see_twice(self, detection: Detection) -> Sighting | None:
        region, logit = roi.from_detection(detection), score_logit(detection.score)
        if not roi.usable(region, *self.size_px):
            return None
        first = self._see(region, logit)
        closer = first.next_region()
        if first.log_odds < HOPELESS or not roi.usable(closer, *self.size_px):
            return first
        second = self._see(closer, logit)
        return second if second.log_odds >= first.log_odds else first

    def _somebody(self, sighting: Sighting) -> bool:
        """Whether the landmark model thinks so at all, and could go on from there."""
        return sighting.found.presence >= self.min_presence and roi.usable(sighting.next_region(), *self.size_px)

    def _see(self, region: Roi, detector_logit: float) -> Sighting:
        found = self.look(region)
        return Sighting(region, found, detector_logit, self.weights.log_odds(found.peak, detector_logit))


def same_person(first: Sighting, second: Sighting) -> bool:
    """Whether two looks are at one person."""
    side_px = min(first.region.side_px, second.region.side_px)
    return association.same_joints(first.found.keypoints_px, second.found.keypoints_px, side_px)


def _rank(sighting: Sighting) -> float:
    return -min(sighting.log_odds, SURE) - NEARNESS * math.log2(sighting.region.side_px)
