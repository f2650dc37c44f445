"""Who is followed, and whether the detector must run. The only place that decides; it sees numbers, never pixels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, count
from typing import Final

from edge import acquisition, association, identity, roi
from edge.acquisition import SAME_PLACE, Finder, Sighting
from edge.belief import BELIEVED, BELIEVED_AT_ONCE, believe, still, too_unlikely
from edge.config import TrackerSettings
from edge.evidence import UNSEEN, Weights, probability, score_logit
from edge.identity import MEMORY_S, Memory
from edge.person import Person
from edge.pose import Detection, Roi

# What counts is the evidence of so much time (a first-order low-pass), so that one blurred frame loses nobody.
MEMORY_OF_EVIDENCE_S: Final = 0.2
# Where somebody was seen who then was nobody, only what is beyond doubt counts for so long.
REJECTED_S: Final = 10.0
# In an empty room in which nothing moves, where nobody was seen is not looked at again for so long.
DISMISSED_S: Final = 2.0
# While somebody is held, whoever was just lost is looked for no sooner than this after the detector ran.
SEARCH_AGAIN_S: Final = 0.1
# Who was followed for less than this is not known again.
KNOWN_S: Final = 0.3
# Whoever is in doubt is looked for by the detector so often.
DOUBT_INTERVAL_S: Final = 0.5
# A detector's logit from which on somebody is seen plainly: a score of 0.5.
PLAINLY_SEEN: Final = 0.0
# What speaks for a person (log-odds) falls so much between two frames where the picture is cut and the region lies on
# furniture, and seldom otherwise: the detector is asked, and who is not seen plainly is found anew.
BROKEN_OFF: Final = 6.0
# Who waits for a moment is served by the frame that comes a little early, too: of so many frames.
EARLY_FRAMES: Final = 0.25
# In the plain way, a detection whose square overlaps a held person's this much (IoU, rotation aside) is that person.
SAME_SQUARE_IOU: Final = 0.3
# Two whose hips are this near to each other, in sides of the larger region, may hide each other's clothes.
HIDING: Final = 0.22
# Frames further apart than this are no motion: regions are stale, and the detector looks at once.
GAP_S: Final = 1.0
# Nobody is known after a gap of so many times the one before, if nobody would be remembered for so long: the camera was
# silent, or the loop switched off.
LONG_GAP: Final = 3.0


class Tracker:
    """Finds, confirms, follows, verifies, loses, and knows again.

    Args:
        rules: [tracker].
        weights: of the evidence, as measured for the landmark model.
    """

    def __init__(self, rules: TrackerSettings, weights: Weights) -> None:
        self.people: list[Person] = []
        self.rules = rules
        self.weights = weights
        self._plain = rules.acquisition == "single"
        self._idle_interval_s = 1.0 / rules.idle_fps if rules.idle_fps else 0.0
        self._searched_s = -math.inf
        self._time_s = -math.inf
        self._step_s = 0.0
        self._memory = Memory()
        self._rejected: list[tuple[float, Roi]] = []
        self._dismissed: list[tuple[float, Roi]] = []
        self._still = False
        self._ids = count(1)

    def wants_detection(self, time_s: float, moved: Callable[[], bool] = lambda: True) -> bool:
        """Whether the detector should look at the frame captured at this time.

        Args:
            time_s: the frame's capture time.
            moved: says whether anything has moved since the detector last looked; asked only if the answer matters.
        """
        if time_s != self._time_s:
            self._pass_time(time_s)
        waited_s = time_s - self._searched_s + self._early_s()
        self._still = False
        if not self.people:
            if waited_s < self._idle_interval_s:
                return moved()
            self._still = bool(self._idle_interval_s and self._dismissed) and not moved()
            return True
        if len(self.people) < self.rules.max_people and waited_s >= self.rules.search_interval:
            return True
        if self._plain or waited_s < SEARCH_AGAIN_S:
            return False
        return any(self._unverified(person, time_s) for person in self.people)

    def _pass_time(self, time_s: float) -> None:
        step_s = max(time_s - self._time_s, 0.0)
        if step_s > max(MEMORY_S, LONG_GAP * self._step_s) and not self._plain:
            self.forget()
        self._time_s, self._step_s = time_s, step_s

    def _early_s(self) -> float:
        return EARLY_FRAMES * min(self._step_s, GAP_S)

    def _unverified(self, person: Person, time_s: float) -> bool:
        """Whether the detector should be asked about a person who is held."""
        if person.broken_off or time_s - person.seen_s > GAP_S:
            return True
        interval_s = DOUBT_INTERVAL_S if self._doubtful(person) else self.rules.verify_interval
        return bool(interval_s) and time_s - person.verified_s + self._early_s() >= interval_s

    def _doubtful(self, person: Person) -> bool:
        return person.last.found.presence < self.rules.min_presence or person.score < BELIEVED

    def search(
        self, detections: Sequence[Detection], finder: Finder, time_s: float, *, patient: bool = True
    ) -> list[Person]:
        """Take up the people whom the detector saw, as far as there is room and they are not held yet.

        Args:
            detections: of this frame, best first.
            finder: looks at them.
            time_s: the frame's capture time.
            patient: whether there will be more frames, so that who is in doubt can be looked at again.

        Returns:
            Who is new.
        """
        self._searched_s = time_s
        still = self._still and not self.people
        self._dismissed = [one for one in self._dismissed if still and 0 <= time_s - one[0] < DISMISSED_S]
        self._rejected = [(when_s, place) for when_s, place in self._rejected if 0 <= time_s - when_s <= REJECTED_S]
        if self._plain:
            room = self.rules.max_people - len(self.people)
            free = [one for one in detections if not self._held(roi.from_detection(one))]
            return [self._take_up(seen, time_s, believed=True) for seen in finder.once(free, room)] if room else []
        others = self._verify(detections, finder, time_s)
        in_doubt = sorted((one for one in self.people if not one.confirmed), key=lambda one: one.log_odds)
        room = self.rules.max_people - len(self.people) + len(in_doubt)
        if not room:
            return []
        held = [person.last for person in self.people]
        places = [place for _, place in self._dismissed]
        more = self.rules.candidates - 1
        found = finder.closely(others, held, room, more, thorough=not patient, dismissed=places)
        self._dismissed += [(time_s, place) for place in places[len(self._dismissed) :]]
        new: list[Person] = []
        for sighting in found:
            likely = probability(sighting.log_odds)
            believed = likely >= (BELIEVED_AT_ONCE if patient else self.rules.min_score)
            doubtful = patient and likely >= self.rules.min_score and not self._was_rejected(sighting.region)
            if believed and in_doubt and len(self.people) == self.rules.max_people:
                self.people.remove(in_doubt.pop(0))  # who is in doubt makes way for who is not
            if len(self.people) < self.rules.max_people and (believed or doubtful):
                new.append(self._take_up(sighting, time_s, believed=believed))
        return new

    def _was_rejected(self, region: Roi) -> bool:
        return association.nearest(region, [place for _, place in self._rejected], SAME_PLACE) is not None

    def _held(self, region: Roi) -> bool:
        return any(association.square_iou(region, held.roi) >= SAME_SQUARE_IOU for held in self.people)

    def _verify(self, detections: Sequence[Detection], finder: Finder, time_s: float) -> list[Detection]:
        """Note whom the detector sees of those who are held; returns the detections of nobody held."""
        regions = [roi.from_detection(detection) for detection in detections]
        free = dict(enumerate(detections))
        gone: list[Person] = []
        for person in self.people:
            person.verified_s = time_s
            places = list(free)
            match = association.nearest(person.roi, [regions[place] for place in places], SAME_PLACE)
            own = {} if match is None else {places[match]: free.pop(places[match])}
            logit = max((score_logit(detection.score) for detection in own.values()), default=UNSEEN)
            # Whom it plainly sees, and who was not in doubt, it need not be asked about again.
            if logit < PLAINLY_SEEN or self._doubtful(person):
                logit = (logit + acquisition.logit_of(person.roi, finder.wider())) / 2
            person.misses = 0 if logit > UNSEEN else person.misses + 1
            change = self.weights.detector * (logit - person.last.detector_logit)
            person.log_odds += change
            person.last = replace(person.last, detector_logit=logit, log_odds=person.last.log_odds + change)
            if person.broken_off and logit < PLAINLY_SEEN and probability(person.last.log_odds) < BELIEVED:
                free |= own
                gone.append(person)  # whoever is there is looked at closely
                continue
            if person.misses and person.last.found.presence < self.rules.min_presence:
                gone.append(person)  # neither model sees anybody
            person.broken_off = False
        for person in gone:
            self._lose(person, time_s)
        return [detection for place, detection in enumerate(detections) if place in free]

    def _take_up(self, seen: Sighting, time_s: float, *, believed: bool) -> Person:
        likely = believed or probability(seen.log_odds) >= self.rules.min_score
        known = self._memory.recall(seen.region, seen.found.clothes, time_s) if likely else None
        person = Person(
            id=next(self._ids) if known is None else known.id,
            roi=seen.next_region(),
            last=seen,
            log_odds=seen.log_odds,
            since_s=time_s,
            seen_s=time_s,
            verified_s=time_s,
            confirmed=believed or (known is not None and not known.broken_off),
            alive_s=time_s,
        )
        if known is not None:
            person.outfit, person.trail = known.outfit, known.trail
        person.trail.add(time_s, seen.region)
        self.people.append(person)
        return person

    def update(self, person: Person, seen: Sighting, next_roi: Roi, time_s: float, size_px: tuple[int, int]) -> bool:
        """Say what the landmark model saw where this person should be.

        Returns:
            Whether the person is there; if not, the person is dropped.
        """
        person.looks += 1
        # Whoever could not be seen has not stood still.
        person.alive_s += max(time_s - person.seen_s - GAP_S, 0.0)
        person.broken_off |= person.confirmed and person.last.log_odds - seen.log_odds > BROKEN_OFF
        # The mean of the first looks, and then of the last moments.
        share = max(1.0 - math.exp(-max(time_s - person.seen_s, 0.0) / MEMORY_OF_EVIDENCE_S), 1.0 / person.looks)
        person.log_odds += share * (seen.log_odds - person.log_odds)
        if not (self._believable(person, seen, next_roi, time_s) and roi.usable(next_roi, *size_px)):
            self._lose(person, time_s)
            return False
        person.roi, person.last, person.seen_s = next_roi, seen, time_s
        person.trail.add(time_s, next_roi)
        if seen.found.clothes is None or self._hidden(person):
            person.outfit.look_away()
        else:
            person.outfit.see(seen.found.clothes, time_s)
        return True

    def _hidden(self, person: Person) -> bool:
        """Whether somebody else who is followed is so near that one may hide the other's clothes."""
        here = person.roi
        return any(
            math.hypot(here.x_px - there.x_px, here.y_px - there.y_px) <= HIDING * max(here.side_px, there.side_px)
            for there in (other.roi for other in self.people if other is not person)
        )

    def _believable(self, person: Person, seen: Sighting, next_roi: Roi, time_s: float) -> bool:
        if self._plain:
            return seen.found.presence >= self.rules.min_presence
        if too_unlikely(person, self.rules.min_score) or not roi.follows(next_roi, person.last.region):
            return False
        return believe(person, seen, next_roi, time_s, self.rules.min_score)

    def _lose(self, person: Person, time_s: float, *, double: bool = False) -> None:
        self.people.remove(person)
        if not person.confirmed or still(person, time_s):
            if not double:  # whose double is left is somebody
                self._rejected.append((time_s, person.roi))
        elif time_s - person.since_s >= KNOWN_S:
            self._memory.keep(person)
        # Whoever was just lost is looked for at once.
        soon_s = time_s - self.rules.search_interval + SEARCH_AGAIN_S
        self._searched_s = min(self._searched_s, soon_s) if self.people else -math.inf

    def settle(self, time_s: float) -> list[Person]:
        """After everybody was seen in a frame: drop whoever has become somebody else's double.

        Returns:
            Who is left.
        """
        for first, second in combinations(list(self.people), 2):
            if first not in self.people or second not in self.people:
                continue
            if acquisition.same_person(first.last, second.last):
                self._lose(identity.intruder(first, second, time_s), time_s, double=True)
        return self.people

    def recognise(self, time_s: float) -> set[int]:
        """Before anybody is seen in a frame: another id for whoever has become somebody else.

        Returns:
            The ids that are somebody else's now.
        """
        return identity.recognise(self.people, self._memory, self._ids, time_s)

    def ids(self) -> set[int]:
        """Who is followed."""
        return {person.id for person in self.people}

    def forget(self) -> None:
        """Drop everybody, so that the next frame is searched anew."""
        self.people.clear()
        self._memory.forget()
        self._rejected.clear()
        self._dismissed.clear()
        self._searched_s = -math.inf
