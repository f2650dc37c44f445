"""Time stamps of frames: always rising, and on this machine's clock."""

import math

# Time stamps that stand still or run backwards are moved this far on, so that speeds stay finite.
SMALLEST_STEP_S = 1e-3


class RisingClock:
    """Makes time stamps strictly increasing."""

    def __init__(self) -> None:
        self._last_s: float | None = None

    def __call__(self, time_s: float) -> float:
        """The stamp itself, or a little more than the one before where it did not rise."""
        if self._last_s is not None and time_s <= self._last_s:
            time_s = self._last_s + SMALLEST_STEP_S
        self._last_s = time_s
        return time_s


class SenderClock:
    """Puts a sender's time stamps on this machine's monotonic clock.

    The time of arrival alone would carry every delay of the network into the speeds that smoothing works with. The
    picture that was least delayed tells how the two clocks lie to each other; all others are placed by their stamps.
    """

    # The sender's clock may be slower than ours: the least delay is allowed to grow by this many seconds a second.
    DRIFT = 5e-4
    # A picture that seems older than this has stamps that jumped, for instance when the sender was restarted.
    JUMP_S = 5.0

    def __init__(self) -> None:
        self._offset_s = math.inf
        self._stamp_s = -math.inf
        self._arrived_s = 0.0

    def __call__(self, stamp_s: float, arrived_s: float) -> float:
        """When a picture was taken, in seconds of `time.monotonic()`, never later than it arrived."""
        drift_s = self.DRIFT * (arrived_s - self._arrived_s)
        offset_s = min(self._offset_s + drift_s, arrived_s - stamp_s)
        if stamp_s <= self._stamp_s or arrived_s - (stamp_s + offset_s) > self.JUMP_S:
            offset_s = arrived_s - stamp_s
        self._offset_s, self._stamp_s, self._arrived_s = offset_s, stamp_s, arrived_s
        return stamp_s + offset_s
