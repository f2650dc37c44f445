"""Somebody who is followed: what the tracker knows of one person."""

from dataclasses import dataclass, field

from edge.acquisition import Sighting
from edge.association import Trail
from edge.clothes import Outfit
from edge.evidence import probability
from edge.liveness import Liveness
from edge.pose import Roi


@dataclass(slots=True)
class Person:
    """Somebody who is followed.

    Attributes:
        id: not given to anybody else in this run.
        roi: where to look in the next frame.
        last: what was seen last.
        log_odds: that this is a person, of the last moments.
        since_s: when first seen.
        seen_s: when last seen.
        verified_s: when the detector was last asked about them.
        misses: how often in a row it did not see them.
        looks: in how many frames they were seen.
        alive_s: when they last were beyond doubt, or moved as people do.
        confirmed: whether they are published.
        broken_off: whether what spoke for them has vanished from one frame to the next, and nobody was asked yet.
        trail: where they have been.
        outfit: what they wear, where clothes are looked at.
    """

    id: int
    roi: Roi
    last: Sighting
    log_odds: float
    since_s: float
    seen_s: float
    verified_s: float
    confirmed: bool
    alive_s: float
    misses: int = 0
    looks: int = 1
    broken_off: bool = False
    liveness: Liveness = field(default_factory=Liveness)
    trail: Trail = field(default_factory=Trail)
    outfit: Outfit = field(default_factory=Outfit)

    @property
    def score(self) -> float:
        """Probability that this is a person."""
        return probability(self.log_odds)
