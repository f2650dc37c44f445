"""Who is who: whether somebody who comes back was here before, and whether a track still is on the same person."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edge.association import Trail
from edge.clothes import OTHERS, Outfit
from edge.person import Person
from edge.pose import Clothes, Roi

# When two tracks have met, where each was going is judged without the positions of so long: they may be the other's.
BEFORE_MEETING_S: Final = 0.3
# But where what is seen is so much further, in grey levels, from what one of them wears, that one is.
CLEARLY_OTHERS: Final = 10.0
# Somebody who was lost may come back as the same id for so long.
MEMORY_S: Final = 2.0
# How far from the expected place, in sides of the region: at once, and more for each second that has passed.
REACH, REACH_PER_S = 0.3, 0.5
# So many grey levels between clothes count like a whole side between places.
LEVELS_PER_SIDE: Final = 50.0
# Whose clothes are others for so long is somebody else, if it is somebody who was lost; and a stranger after longer:
# it may be an arm or a passer-by before them.
MISTAKEN_S, CHANGED_S = 0.1, 0.3


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody who was followed until `time_s`; `broken_off` is as of `Person`."""

    id: int
    trail: Trail
    outfit: Outfit
    time_s: float
    broken_off: bool = False

    def reached(self, region: Roi, time_s: float) -> float | None:
        """How far from where they are expected a region is, in sides; None is too far."""
        surprise = self.trail.surprise(region, time_s)
        return surprise if surprise <= REACH + REACH_PER_S * (time_s - self.time_s) else None


class Memory:
    """Who was lost lately, so that they are known when they come back."""

    def __init__(self) -> None:
        self._lost: list[Lost] = []

    def keep(self, person: Person) -> None:
        """Remember somebody who is lost, as they were before somebody else was in their place."""
        until_s = min(person.seen_s, person.outfit.strange_since_s)
        trail = person.trail.until(until_s)
        self._lost.append(Lost(person.id, trail, person.outfit, until_s, person.broken_off))

    def recall(self, region: Roi, clothes: Clothes | None, time_s: float) -> Lost | None:
        """Whoever was expected in this region and wears such clothes, who is then back and no longer remembered."""
        self._lost = [lost for lost in self._lost if 0 <= time_s - lost.time_s <= MEMORY_S]
        likely = [
            (surprise + apart / LEVELS_PER_SIDE, lost)
            for lost in self._lost
            if (surprise := lost.reached(region, time_s)) is not None
            and (apart := lost.outfit.apart(clothes)) <= OTHERS
        ]
        if not likely:
            return None
        _, best = min(likely, key=lambda entry: entry[0])
        self._lost.remove(best)
        best.outfit.begin_again()
        return best

    def withdraw(self, person_id: int) -> bool:
        """Remember somebody no longer; returns whether they still were."""
        others = [lost for lost in self._lost if lost.id != person_id]
        known = len(others) < len(self._lost)
        self._lost = others
        return known

    def forget(self) -> None:
        """Remember nobody."""
        self._lost.clear()


def intruder(first: Person, second: Person, time_s: float) -> Person:
    """Which of two tracks that have met on one person is there by mistake."""
    clothes = first.last.found.clothes
    more = first.outfit.apart(clothes) - second.outfit.apart(clothes)
    if abs(more) > CLEARLY_OTHERS:
        return first if more > 0 else second
    ages_s = first.trail.age_s(), second.trail.age_s()
    if min(ages_s) <= BEFORE_MEETING_S:
        return first if ages_s[0] < ages_s[1] else second
    until_s = time_s - BEFORE_MEETING_S
    surprises = [person.trail.surprise(first.roi, time_s, until_s) for person in (first, second)]
    return first if surprises[0] > surprises[1] else second


def recognise(people: list[Person], memory: Memory, ids: Iterator[int], time_s: float) -> set[int]:
    """Give whoever has someone else's clothes on another id: theirs if they are known, else after a while a new one.

    Returns:
        The ids that are somebody else's now than a frame ago.
    """
    given = set[int]()
    strange = [person for person in people if person.outfit.strange_since_s <= time_s]
    if all(time_s - person.outfit.strange_since_s < MISTAKEN_S for person in strange):
        return given
    # Taken note of for all of them first: two may have been taken for each other, and each then has the other's outfit.
    seen = [(person, person.outfit.lately, person.outfit.strange_since_s) for person in strange]
    for person in strange:
        memory.keep(person)
    for person, clothes, since_s in seen:
        known = memory.recall(person.roi, clothes, time_s)
        if known is None and time_s - since_s < CHANGED_S and memory.withdraw(person.id):
            continue
        person.trail, person.since_s = person.trail.since(since_s), since_s
        person.id, person.outfit = (known.id, known.outfit) if known else (next(ids), Outfit())
        given.add(person.id)
    return given
