"""Whether somebody who is followed is believed to be a person, so that they are published, and how long they stay."""

import math
from typing import Final

from edge.acquisition import Sighting
from edge.evidence import probability
from edge.person import Person
from edge.pose import Roi

# A person of the first probability is believed at once, and then with the second; others are published when they have
# moved as people do. By cross-validation .1 % of the pictures without people that the score was fitted on show somebody
# of the first, .7 % of the second, and 3.5 % of `min_score`, where MediaPipe shows somebody in 3.5 and 4.1 %.
BELIEVED_AT_ONCE, BELIEVED = 0.95, 0.9
# Who is not believed after so long, and so many frames, is nobody; who was and has not moved for longer, no longer is.
DOUBT_S, DOUBT_FRAMES = 0.5, 8
STILL_S: Final = 3.0
# Whose region is turned by less than 45 degrees is upright: the cosine.
UPRIGHT: Final = 0.7
# Somebody who is followed is held down to this share of `min_score`: the way out is wider than the way in.
HOLD: Final = 0.5
# But not whom the detector has not seen so often in a row.
MOST_MISSES: Final = 2


def too_unlikely(person: Person, min_score: float) -> bool:
    """Whether too little speaks for somebody to hold them."""
    return person.score < min_score * (HOLD if person.misses < MOST_MISSES else 1.0)


def believe(person: Person, seen: Sighting, next_roi: Roi, time_s: float, min_score: float) -> bool:
    """Whether somebody who is likely enough is held; takes note of it if they are beyond doubt now, or move.

    Args:
        person: who is followed.
        seen: what the landmark model saw of them in this frame.
        next_roi: where they are looked for in the next one.
        time_s: the frame's capture time.
        min_score: `tracker.min_score`.
    """
    likely = min(person.score, probability(seen.log_odds))
    sure = likely >= (BELIEVED if person.confirmed else BELIEVED_AT_ONCE)
    upright = math.cos(next_roi.rotation_rad) > UPRIGHT
    moves = not sure and person.liveness.alive(seen.found.keypoints_px[:, :2], time_s, upright=upright)
    if sure or (moves and likely >= min_score):
        person.confirmed, person.alive_s = True, time_s
    if person.confirmed:
        return not still(person, time_s)
    return time_s - person.since_s <= DOUBT_S or person.looks <= DOUBT_FRAMES


def still(person: Person, time_s: float) -> bool:
    """Whether somebody who is not beyond doubt has not moved for too long."""
    return time_s - person.alive_s > STILL_S
