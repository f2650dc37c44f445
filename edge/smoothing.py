"""The One Euro filter (Casiez, Roussel, Vogel: CHI 2012), over all joints of a person at once.

Cutoffs and slopes are those of MediaPipe's pose_landmark_filtering graph (Apache-2.0).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.config import SmoothingSettings
from edge.pose import NUM_KEYPOINTS, Landmarks

# Velocity is measured in sizes of the person, so that the same motion is smoothed alike near and far; below this size
# it has no meaning and the filter lets everything through (min_allowed_object_scale).
MIN_SCALE_PX: Final = 1e-6
# After a pause this long a joint may be anywhere: what was before says nothing about it.
GAP_S: Final = 0.5
# Share of the new value in the smoothed visibility.
VISIBILITY_ALPHA: Final = 0.1


class OneEuroFilter:
    """A low-pass filter whose cutoff rises with speed: still things stand still, fast things do not lag.

    Args:
        min_cutoff_hz: cutoff at rest; a number, or one for each value.
        beta: how fast the cutoff rises with speed, Hz a unit of scaled velocity; likewise.
        derivative_cutoff_hz: cutoff of the velocity's own low-pass.
    """

    def __init__(
        self,
        min_cutoff_hz: float | NDArray[np.float64],
        beta: float | NDArray[np.float64],
        derivative_cutoff_hz: float = 1.0,
    ) -> None:
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._derivative_cutoff_hz = derivative_cutoff_hz
        self._time_s = -math.inf
        self._raw: NDArray[np.float64] | None = None
        self._smoothed = np.empty(0)
        self._velocity = np.empty(0)

    def apply(self, values: NDArray[np.float32], time_s: float, velocity_scale: float) -> NDArray[np.float32]:
        """The smoothed values.

        Args:
            values: any shape, the same at every call.
            time_s: capture time, rising; a value that is not later than the one before passes unfiltered.
            velocity_scale: velocity is multiplied by this before it moves the cutoff.
        """
        raw = values.astype(np.float64)
        if self._raw is None:
            self._raw, self._smoothed, self._velocity = raw, raw.copy(), np.zeros_like(raw)
            self._time_s = time_s
            return values
        step_s = time_s - self._time_s
        if step_s <= 0:
            return values
        if step_s > GAP_S:
            self._raw = None
            return self.apply(values, time_s, velocity_scale)
        turn = 2 * math.pi * step_s  # a cutoff's alpha is c / (1 + c) with c = turn * cutoff
        velocity = (raw - self._raw) * (velocity_scale / step_s) - self._velocity
        velocity *= turn * self._derivative_cutoff_hz / (1 + turn * self._derivative_cutoff_hz)
        self._velocity += velocity
        cutoff = np.abs(self._velocity) * (turn * self._beta) + turn * self._min_cutoff_hz
        self._smoothed += (raw - self._smoothed) * (cutoff / (cutoff + 1))
        self._raw, self._time_s = raw, time_s
        return self._smoothed.astype(np.float32)


DEFAULT: Final = SmoothingSettings()
# Body landmarks in x, y, z, then the two auxiliary ones in x, y: all of one vector, so that one filter serves them.
_BODY_VALUES: Final = NUM_KEYPOINTS * 3
# Cutoff at rest and its slope, of body and auxiliary landmarks and of the world; strong has a quarter of the slope.
_MODES: Final = {
    "normal": ((0.05, 80.0), (0.01, 10.0), (0.1, 40.0)),
    "strong": ((0.05, 20.0), (0.01, 10.0), (0.1, 10.0)),
}


class PoseSmoother:
    """Smooths one person's landmarks over time. A new person gets a new smoother.

    Args:
        settings: [smoothing], not off.
    """

    def __init__(self, settings: SmoothingSettings = DEFAULT) -> None:
        body, auxiliary, world = _MODES[settings.mode]
        body = settings.min_cutoff or body[0], settings.beta or body[1]
        cutoffs_hz, slopes = (np.repeat([body[at], auxiliary[at]], [_BODY_VALUES, 4]) for at in (0, 1))
        self._positions = OneEuroFilter(cutoffs_hz, slopes, settings.derivative_cutoff)
        self._world = OneEuroFilter(*world, settings.derivative_cutoff)
        self._visibility: NDArray[np.float32] | None = None
        self._time_s = -math.inf

    def apply(self, found: Landmarks, time_s: float, scale_px: float) -> Landmarks:
        """The smoothed landmarks.

        Args:
            found: what the model says of this frame.
            time_s: the frame's capture time.
            scale_px: the person's size: the diameter of the circle that this frame's auxiliary landmarks describe
                (the ROI that they make, before it is widened).
        """
        if scale_px < MIN_SCALE_PX:
            return found
        raw = np.concatenate([found.keypoints_px[:, :3].ravel(), found.auxiliary_px.ravel()])
        positions = self._positions.apply(raw, time_s, 1.0 / scale_px)
        if self._visibility is None or time_s - self._time_s > GAP_S:
            self._visibility = found.keypoints_px[:, 3].copy()
        self._visibility += np.float32(VISIBILITY_ALPHA) * (found.keypoints_px[:, 3] - self._visibility)
        self._time_s = time_s
        keypoints = found.keypoints_px.copy()
        keypoints[:, :3] = positions[:_BODY_VALUES].reshape(NUM_KEYPOINTS, 3)
        keypoints[:, 3] = self._visibility
        world = None if found.world_m is None else self._world.apply(found.world_m, time_s, 1.0)
        auxiliary = positions[_BODY_VALUES:].reshape(2, 2)
        return Landmarks(found.presence, found.person, found.peaks, keypoints, auxiliary, world, found.clothes)
