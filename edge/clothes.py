"""What people wear: the mean colours of the torso, by which two who cross or hide each other are told apart."""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.pose import TORSO, Clothes, ColorOrder

# Where the torso is looked at: shares of the way from one shoulder to the other, and from shoulders to hips, for its
# upper and its lower half. The margins keep clear of the background.
_ACROSS: Final = (0.2, 0.4, 0.6, 0.8)
_DOWN: Final = ((0.1, 0.25, 0.4), (0.6, 0.75, 0.9))
# The same as weights of the four corners, shape (24, 4), the upper half first.
_PLACES = np.array(
    [
        [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
        for half in _DOWN
        for down in half
        for across in _ACROSS
    ]
)
# From red, green, blue to half the brightness, red against green, and yellow against blue. Of a pair of looks at one
# person and a pair at two of the same film, the first is the more alike in 94 % so with lite and in 92 with full; by
# red, green and blue in 90 and 89, by CIELAB in 90 and 89 (means of seven films, 113 and 109 looks at 15 people,
# `tests/benchmarks/crossing`). Bodies' proportions tell them apart in 61 to 69 %.
_OPPONENT = np.array([[1 / 6, 1 / 6, 1 / 6], [1.0, -1.0, 0.0], [0.5, 0.5, -1.0]]).T
# The lower half counts less: where a jacket ends changes with every step.
_SHARES = np.array([[0.8], [0.2]])
# In the shade the same clothes are down to so much darker. Of the pairs above 91 and 90 % are right with this, but of
# the pairs at one person 7 and 9 instead of 21 and 19 % lie above `OTHERS`.
GAIN: Final = 2.0
# Clothes further apart than this, in grey levels, are not the same: of the pairs at two people 64 and 68 % are.
OTHERS: Final = 24.0
# As far apart count clothes that cannot be compared: between the medians at one person, 4 and 6, and at two, 34 and 38.
UNSURE: Final = 12.0
# What somebody wears now is the mean of the first of these times, what they usually wear of the second; it is known
# after the third.
LATELY_S, USUALLY_S, KNOWN_S = 0.1, 2.0, 0.3
# No step in time counts for more.
_LONGEST_STEP_S: Final = 1.0


def look_at(crop: NDArray[np.uint8], order: ColorOrder, points_norm: NDArray[np.float32]) -> Clothes:
    """The clothes of the person in a crop.

    Args:
        crop: shape (S, S, 3), uint8, the person upright in it.
        order: of its channels.
        points_norm: landmarks in units of the crop's side, shape (33, 2) or longer.
    """
    side = crop.shape[0]
    corners = points_norm[TORSO]
    places = np.fmin(np.fmax(_PLACES @ corners * side, 0), side - 1).astype(np.intp)  # a place that is none is 0
    halves = crop.reshape(-1, 3)[places @ (1, side)].reshape(2, -1, 3).mean(axis=1)
    if order == "BGR":
        halves = halves[:, ::-1]
    return Clothes(halves @ _OPPONENT, bool(corners[0, 0] > corners[1, 0]))


def distance(usual: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """How far apart two colours of clothes are, grey levels, in the light that makes them most alike."""
    power = float((usual * usual * _SHARES).sum())
    gain = float((usual * now * _SHARES).sum()) / power if power else 1.0
    gain = min(max(gain, 1 / GAIN), GAIN)
    return math.sqrt(float(((now - gain * usual) ** 2 * _SHARES).sum()))


@dataclass(slots=True)
class Outfit:
    """What somebody is known to wear, seen from the front and from behind.

    Attributes:
        strange_since_s: since when they have worn something else; infinite if they do not.
        lately: what was seen in the last moments.
    """

    strange_since_s: float = math.inf
    lately: Clothes | None = None
    _usual: dict[bool, NDArray[np.float64]] = field(default_factory=dict)
    _seen_s: dict[bool, float] = field(default_factory=lambda: {False: 0.0, True: 0.0})
    _time_s: float = 0.0

    def see(self, clothes: Clothes, time_s: float) -> None:
        """Take note of a look at a person whom nobody hides."""
        step_s = min(max(time_s - self._time_s, 0.0), _LONGEST_STEP_S) if self.lately else 0.0
        self._time_s = time_s
        if self.lately and self.lately.from_front == clothes.from_front:
            mean = _towards(self.lately.colours, clothes.colours, step_s / LATELY_S)
            self.lately = Clothes(mean, clothes.from_front)
        else:
            self.lately = clothes
        if self.apart(self.lately) > OTHERS:
            self.strange_since_s = min(self.strange_since_s, time_s)
            return
        self.strange_since_s = math.inf
        side = clothes.from_front
        self._seen_s[side] += step_s
        usual = self._usual.setdefault(side, clothes.colours)
        if self._seen_s[side]:
            steps = step_s / min(self._seen_s[side], USUALLY_S)
            self._usual[side] = _towards(usual, clothes.colours, steps)

    def look_away(self) -> None:
        """The person is hidden: what was strange before may have been whoever hides them."""
        self.strange_since_s = math.inf

    def begin_again(self) -> None:
        """Forget the last moments, not what is usual: the same person is back."""
        self.strange_since_s, self.lately = math.inf, None

    def apart(self, clothes: Clothes | None) -> float:
        """How far clothes are from this person's, grey levels; `UNSURE` where that cannot be told."""
        if clothes is None:
            return UNSURE
        if self._seen_s[clothes.from_front] >= KNOWN_S:
            return distance(self._usual[clothes.from_front], clothes.colours)
        if self._seen_s[not clothes.from_front] >= KNOWN_S:  # many clothes look alike from both sides
            return min(distance(self._usual[not clothes.from_front], clothes.colours), UNSURE)
        return UNSURE


def _towards(mean: NDArray[np.float64], value: NDArray[np.float64], steps: float) -> NDArray[np.float64]:
    """A mean of the first order, so many of its times later."""
    moved: NDArray[np.float64] = mean + (1 - math.exp(-steps)) * (value - mean)
    return moved
