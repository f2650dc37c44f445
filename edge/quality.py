"""How smooth and how late published keypoints are: what smoothing wins and what it costs."""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.pose import LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER, Pose

# Frames further apart than this say nothing about motion.
MAX_STEP_S: Final = 0.25
# A person is never measured as smaller than this.
MIN_TORSO_PX: Final = 1.0
# Below this mean speed a person is at rest, and a delay cannot be seen.
MIN_SPEED_TORSOS_PER_S: Final = 0.3


class PoseQuality(msgspec.Struct, frozen=True):
    """One person in one frame.

    Attributes:
        id: the person's.
        jitter: how far the joints are from where they would be had they kept their speed, the median of the 33, in
            torsos; null before a person's third frame.
        lag_ms: how late the published joints are, against those that the model gave for this frame; null at rest.
    """

    id: int
    jitter: float | None
    lag_ms: float | None


def torso_px(points_px: NDArray[np.float32]) -> float:
    """From the middle of the shoulders to the middle of the hips; points of shape (33 or more, 2)."""
    shoulders = (points_px[LEFT_SHOULDER] + points_px[RIGHT_SHOULDER]) / 2
    hips = (points_px[LEFT_HIP] + points_px[RIGHT_HIP]) / 2
    return float(np.linalg.norm(shoulders - hips))


def jitter(points_px: list[NDArray[np.float32]], times_s: list[float]) -> float:
    """How far the joints are from where they would be had they kept their speed, in torsos.

    Args:
        points_px: of three frames, each of shape (33, 2).
        times_s: of the same three; where frames are missing a step is longer than the other.
    """
    before, middle, now = points_px
    steps = (times_s[2] - times_s[1]) / (times_s[1] - times_s[0])
    change = now - (middle + (middle - before) * steps)
    return float(np.median(np.hypot(change[:, 0], change[:, 1]))) / max(torso_px(now), MIN_TORSO_PX)


def lag_s(raw_px: NDArray[np.float32], published_px: list[NDArray[np.float32]], times_s: list[float]) -> float | None:
    """By how much time the published joints trail, by least squares over all joints; None at rest.

    Args:
        raw_px: what the model gave for the last frame, shape (33, 2).
        published_px: of three frames, each of shape (33, 2).
        times_s: of the same three.
    """
    velocity = (published_px[-1] - published_px[0]) / (times_s[-1] - times_s[0])
    speed = float(np.hypot(velocity[:, 0], velocity[:, 1]).mean())
    if speed < MIN_SPEED_TORSOS_PER_S * max(torso_px(raw_px), MIN_TORSO_PX):
        return None
    return float(((raw_px - published_px[-1]) * velocity).sum() / (velocity**2).sum())


class QualityMeter:
    """Looks at the poses of frame after frame."""

    def __init__(self) -> None:
        self._tracks: dict[int, list[tuple[float, NDArray[np.float32]]]] = {}
        self.jitters: list[float] = []
        self.lags_s: list[float] = []

    def see(self, poses: list[Pose], time_s: float) -> list[PoseQuality]:
        """Take note of a frame; what can be said of each person in it."""
        self._tracks = {pose.id: self._tracks.get(pose.id, []) for pose in poses}
        return [self._see(pose, time_s) for pose in poses]

    def _see(self, pose: Pose, time_s: float) -> PoseQuality:
        track = self._tracks[pose.id]
        if track and not 0 < time_s - track[-1][0] <= MAX_STEP_S:
            track.clear()
        track.append((time_s, pose.keypoints_px[:, :2]))
        del track[:-3]
        if len(track) < 3:
            return PoseQuality(pose.id, None, None)
        times_s, points_px = [entry[0] for entry in track], [entry[1] for entry in track]
        trembling = jitter(points_px, times_s)
        self.jitters.append(trembling)
        late_s = None if pose.raw_px is None else lag_s(pose.raw_px[:, :2], points_px, times_s)
        if late_s is not None:
            self.lags_s.append(late_s)
        return PoseQuality(pose.id, round(trembling, 4), None if late_s is None else round(late_s * 1e3, 1))
