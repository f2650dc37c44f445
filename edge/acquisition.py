"""Finding people: what the detector proposes, looked at by the landmark model, all clues weighed. Sees no pixels.

The usual way takes the detector's best box at a score of 0.5, looks once, and believes it. Here it is asked for more
boxes at a lower score. Each is looked at three times, every time from the region that the landmarks of the look before
describe, and the detector is asked again with a margin round the picture: it is unsure of whom it sees too large or at
an edge. Of a picture by itself it is shown parts, too: it misses whom it sees too small. Of a film it is shown one part
in turns, where somebody is held and more people are wanted. What the landmark model does not recognise is dropped.
Where more frames come, no time is spent on what would change nothing: on a slow board ten looks take a second, and
whoever walks is somewhere else by then.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edge import association, roi
from edge.evidence import UNSEEN, Clues, Weights, clues_of, mean_clues, score_logit
from edge.pose import Detection, Landmarks, Roi

Look = Callable[[Roi], Landmarks]

# Somebody with less than this for them (log-odds) after the first look, and after the second, is not looked at again:
# in a picture by itself, and where more frames come and an empty room is looked at five times a second.
HOPELESS: Final = (-4.0, -4.0)
HOPELESS_NOW: Final = (-2.0, 0.0)
# Where more frames come, somebody with as much for them at the first look is not looked at again. Of the 689 pictures
# without people that the score was fitted on none has so much, and of the 256 of animals one with lite int8 and none
# with full int8; of the 318 views of people there 46 and 62 %.
BEYOND_DOUBT: Final = 6.0
# How much larger than the frame the picture is in which the detector looks again.
WIDER: Final = 1.5
# Whoever was found in a part of a picture has so much less for them (log-odds): parts are many, and each may hold
# something that looks like somebody. Of 0 to 2.5 the least with which no more of the pictures without people that the
# score was fitted on show somebody than with MediaPipe, by cross-validation.
CLOSER_COST: Final = 2.0
# A detection is of a person whose region's centre is within so many sides of its own.
SAME_PLACE: Final = 0.3
# Two detections this near to each other, in sides, and this alike in size are looked at once.
ALIKE_SIDES, ALIKE_SCALING = 0.1, 1.2
# Beyond these log-odds people are people, and the nearest are taken first: being twice as large is worth so much.
SURE: Final = 3.0
NEARNESS: Final = 1.5
# In a picture by itself being at its edge instead of in its middle costs so much. Of 479 views of annotated people,
# most with others round them, theirs was the first place in 81 % with lite and with full (scores by cross-validation),
# without that cost in 75 %; of 156 held-out views in 92 and 87 % instead of 84 and 85. In films, where whoever is held
# stays held, it changed nothing in any measure (`tests/benchmarks/crossing`, `people`), and is left out.
CENTRALITY: Final = 2.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the landmark model saw of one person in one frame.

    Attributes:
        region: where it looked.
        found: what it saw there.
        clues: of all its looks.
        detector_logit: how sure the detector was of somebody there.
        log_odds: that it is a person.
    """

    region: Roi
    found: Landmarks
    clues: Clues
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
        wider: what the detector sees in the current frame with a margin round it; it runs at the first call.
        closer: what it sees in parts of the current frame, for each size of parts, best first.
    """

    weights: Weights
    size_px: tuple[int, int]
    min_presence: float
    look: Look
    wider: Callable[[], Sequence[Detection]]
    closer: Callable[[], Iterable[Sequence[Detection]]]

    def once(self, detections: Iterable[Detection], wanted: int) -> list[Sighting]:
        """The plain way: so many of the detector's best are looked at once."""
        regions = ((roi.from_detection(detection), detection.score) for detection in detections)
        chosen = [(region, score) for region, score in regions if roi.usable(region, *self.size_px)][:wanted]
        seen = [self.see(region, score_logit(score)) for region, score in chosen]
        return [sighting for sighting in seen if self._somebody(sighting)]

    def closely(
        self,
        detections: Sequence[Detection],
        held: Sequence[Sighting],
        wanted: int,
        more: int,
        *,
        thorough: bool,
        dismissed: list[Roi],
    ) -> list[Sighting]:
        """The people among the detections who are not held yet, the likeliest and nearest first.

        Args:
            detections: best first.
            held: who is known already.
            wanted: how many people there is room for.
            more: so many more detections than that are looked at.
            thorough: a picture by itself: three times as many, and as many of the wider picture's and of each size of
                parts, every one closely; the most central first, too.
            dismissed: regions that are not looked at; those in which rather nobody is are added.
        """
        seen: list[Sighting] = []
        for region, logit, cost in self._candidates(detections, wanted + more, thorough=thorough):
            if any(_alike(region, place) for place in dismissed):
                continue
            if not thorough and _outdone(region, seen, wanted):
                continue
            sighting = self._see_closely(region, logit, detections, thorough=thorough)
            sighting = replace(sighting, log_odds=sighting.log_odds - cost)
            if sighting.log_odds < 0:
                dismissed.append(region)
            if self._somebody(sighting):
                seen.append(sighting)
        seen.sort(key=lambda sighting: -sighting.log_odds)
        return sorted(_distinct(seen, held), key=self._rank_in_picture if thorough else _rank)

    def _candidates(
        self, detections: Sequence[Detection], limit: int, *, thorough: bool
    ) -> Iterator[tuple[Roi, float, float]]:
        """Regions worth a look, the detector's logit, and what that costs; none is almost the same as another."""
        proposals = [(detections, 0.0)]
        if thorough:
            limit *= 3
            alone = self.weights.alone
            proposals = [(detections, alone), (self.wider(), alone)]
            proposals += [(seen, alone + CLOSER_COST) for seen in self.closer()]
        chosen: list[Roi] = []
        for seen, cost in proposals:
            for detection in seen[:limit]:
                region = roi.from_detection(detection)
                if roi.usable(region, *self.size_px) and not any(_alike(region, other) for other in chosen):
                    chosen.append(region)
                    yield region, score_logit(detection.score), cost

    def _see_closely(self, region: Roi, logit: float, detections: Sequence[Detection], *, thorough: bool) -> Sighting:
        looks = [self.see(region, logit)]
        if not thorough and looks[0].log_odds >= BEYOND_DOUBT:
            return looks[0]
        for limit in HOPELESS if thorough else HOPELESS_NOW:
            closer = looks[-1].next_region()
            so_far = self._together(looks, logit)
            if so_far.log_odds < limit:
                return so_far
            if roi.usable(closer, *self.size_px):
                looks.append(self.see(closer, logit))
        return self._together(looks, self.detector_logit(looks[-1].next_region(), detections))

    def _together(self, looks: Sequence[Sighting], logit: float) -> Sighting:
        """All looks at one person: the clearest one's landmarks, the mean of what they tell."""
        best = max(looks, key=lambda look: look.found.peaks.mean())
        clues = mean_clues([look.clues for look in looks])
        return Sighting(best.region, best.found, clues, logit, self.weights.log_odds(clues, logit))

    def detector_logit(self, region: Roi, detections: Sequence[Detection]) -> float:
        """How sure the detector is of somebody in the region, both pictures' mean."""
        return (logit_of(region, detections) + logit_of(region, self.wider())) / 2

    def _rank_in_picture(self, sighting: Sighting) -> float:
        width, height = self.size_px
        region = sighting.region
        return _rank(sighting) + CENTRALITY * math.hypot(2 * region.x_px / width - 1, 2 * region.y_px / height - 1)

    def _somebody(self, sighting: Sighting) -> bool:
        """Whether the landmark model thinks so at all, and could go on from there."""
        return sighting.found.presence >= self.min_presence and roi.usable(sighting.next_region(), *self.size_px)

    def see(self, region: Roi, detector_logit: float) -> Sighting:
        """One look."""
        return sighting_of(region, self.look(region), detector_logit, self.weights)


def sighting_of(region: Roi, found: Landmarks, detector_logit: float, weights: Weights) -> Sighting:
    """What was found in a region, and what it tells."""
    clues = clues_of(found, region)
    return Sighting(region, found, clues, detector_logit, weights.log_odds(clues, detector_logit))


def logit_of(region: Roi, detections: Sequence[Detection]) -> float:
    """The detector's logit of the detection nearest to the region."""
    regions = [roi.from_detection(detection) for detection in detections]
    match = association.nearest(region, regions, SAME_PLACE)
    return UNSEEN if match is None else score_logit(detections[match].score)


def same_person(first: Sighting, second: Sighting) -> bool:
    """Whether two looks are at one person."""
    side_px = min(first.region.side_px, second.region.side_px)
    return association.same_joints(first.found.keypoints_px, second.found.keypoints_px, side_px)


def _distinct(seen: Iterable[Sighting], known: Sequence[Sighting] = ()) -> list[Sighting]:
    """The first sighting of each person who is not known."""
    people: list[Sighting] = []
    for sighting in seen:
        if not any(same_person(sighting, other) for other in (*known, *people)):
            people.append(sighting)
    return people


def distinct_detections(detections: Iterable[Detection]) -> list[Detection]:
    """The surest of those that are almost the same, best first."""
    chosen: list[tuple[Roi, Detection]] = []
    for detection in sorted(detections, key=lambda one: -one.score):
        region = roi.from_detection(detection)
        if not any(_alike(region, other) for other, _ in chosen):
            chosen.append((region, detection))
    return [detection for _, detection in chosen]


def _alike(first: Roi, second: Roi) -> bool:
    larger, smaller = max(first.side_px, second.side_px), min(first.side_px, second.side_px)
    apart = math.hypot(first.x_px - second.x_px, first.y_px - second.y_px)
    return apart < ALIKE_SIDES * larger and larger < ALIKE_SCALING * smaller


def _rank(sighting: Sighting) -> float:
    return _rank_of(sighting.log_odds, sighting.region)


def _rank_of(log_odds: float, region: Roi) -> float:
    return -min(log_odds, SURE) - NEARNESS * math.log2(region.side_px)


def _outdone(region: Roi, seen: Iterable[Sighting], wanted: int) -> bool:
    """Whether as many as are wanted are in view for sure, and nobody in the region could come before them."""
    people = _distinct([sighting for sighting in seen if sighting.log_odds >= SURE])
    if len(people) < wanted:
        return False
    last = sorted(map(_rank, people))[wanted - 1]
    same = association.nearest(region, [one.region for one in people], SAME_PLACE) is not None
    return same or _rank_of(SURE, region) >= last
