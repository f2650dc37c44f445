"""How late published joints are in motion, over whole clips, with an interval. Development only.

`edge.quality.lag_s` says it of one frame; of a few dozen such values not even the sign of the median is certain, since
the model sees a frame by itself some pixels elsewhere than it does from the region of the frame before. Here one delay
is fitted to all joints of all frames: it brings published joints, had they moved on for so long, nearest to where each
frame by itself has them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.quality import MIN_TORSO_PX, torso_px

Joints = NDArray[np.float32]
# Where a frame by itself shows somebody further away than this, in torsos, it shows somebody else.
SAME_PERSON: Final = 0.3
# Distances below this, in torsos, count alike: the model is no more exact.
EXACT: Final = 0.02
ROUNDS, DRAWS, BLOCK = 20, 300, 10


def motion(
    times_s: Sequence[float], published_px: Sequence[Joints | None], alone_px: Sequence[Joints | None]
) -> list[NDArray[np.float64]]:
    """How far joints are behind and how fast they move, shape (2, 33, 2), torsos (a second), in each frame of a clip.

    Args:
        times_s: of the frames.
        published_px: one person's joints, shape (33, 2); None where nobody is.
        alone_px: the same, of each frame by itself and not smoothed.
    """
    found = []
    for at in range(1, len(times_s) - 1):
        around = published_px[at - 1 : at + 2]
        before, now, after = around
        if before is None or now is None or after is None:
            continue
        torso = max(torso_px(now), MIN_TORSO_PX)
        same = [
            alone is not None and one is not None and np.median(np.hypot(*(alone - one).T)) < SAME_PERSON * torso
            for one, alone in zip(around, alone_px[at - 1 : at + 2], strict=True)
        ]
        alone = alone_px[at]
        if all(same) and alone is not None:
            velocity = (after - before) / (times_s[at + 1] - times_s[at - 1])
            found.append(np.stack([alone - now, velocity]).astype(np.float64) / torso)
    return found


def late_ms(frames: Sequence[NDArray[np.float64]]) -> float:
    """The delay that brings published joints nearest to those of each frame by itself; frames of `motion`."""
    behind, velocity = np.stack(frames, axis=1)
    late_s = 0.0
    for _ in range(ROUNDS):  # least absolute distances, by least squares of ever better weights
        weight = 1 / np.maximum(np.hypot(*np.moveaxis(behind - late_s * velocity, -1, 0)), EXACT)[..., None]
        late_s = float((weight * behind * velocity).sum() / (weight * velocity**2).sum())
    return late_s * 1e3


def interval_ms(clips: Sequence[Sequence[NDArray[np.float64]]]) -> tuple[float, float]:
    """The 95 % interval of the delay, by drawing blocks of frames of each clip again and again."""
    chance = np.random.default_rng(0)
    values = []
    for _ in range(DRAWS):
        drawn: list[NDArray[np.float64]] = []
        for frames in clips:
            starts = chance.integers(0, max(len(frames) - BLOCK, 0) + 1, len(frames) // BLOCK + 1)
            drawn += [frame for start in starts for frame in frames[start : start + BLOCK]]
        values.append(late_ms(drawn))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
