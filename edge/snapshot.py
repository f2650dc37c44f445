"""The command `snapshot`: one picture with ROI and skeleton, to aim a camera over ssh."""

import time
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.camera import open_source
from edge.config import Settings
from edge.draw import check_picture_name, draw_poses, upright_bgr, write_picture
from edge.errors import SourceError
from edge.estimator import PoseEstimator
from edge.output import check_file
from edge.pose import Pose

# A camera needs about a second to find exposure and white balance; a person who comes into view is waited for a little.
SETTLE_S: Final = 1.0
LONGEST_S: Final = 4.0
# A recording needs none of it; its first person is taken, or its last picture of so many.
MOST_PICTURES: Final = 100


def snapshot(settings: Settings, target: Path) -> int:
    """Take pictures until one shows somebody, and write it with ROI and skeleton; without anybody the last one.

    Args:
        settings: the source and the models.
        target: a .jpg or .png to write.

    Returns:
        0.

    Raises:
        UsageError: the picture cannot be written there; found before any work is done.
        EdgePoseError: the source or a model fails, or the disk is full.
    """
    check_picture_name(target, str(target))
    check_file(target, "the picture")
    picture, poses = _look(settings)
    draw_poses(picture, poses, regions=True)
    write_picture(target, picture)
    scores = ", ".join(f"score {pose.score:.2f}" for pose in poses)
    people = f"{len(poses)} {'person' if len(poses) == 1 else 'people'}, {scores}" if poses else "nobody in view"
    print(f"{target}: {picture.shape[1]}x{picture.shape[0]}, {people}")
    return 0


def _look(settings: Settings) -> tuple[NDArray[np.uint8], list[Pose]]:
    """The picture to show, upright BGR, and who is in it."""
    estimator = PoseEstimator(settings)
    estimator.warm_up()
    best: tuple[NDArray[np.uint8], list[Pose]] | None = None
    with open_source(settings.camera) as source:
        start_s = time.monotonic()
        looked = 0
        while looked < MOST_PICTURES:
            frame = source.read(LONGEST_S)
            if frame is None:
                break
            elapsed_s = time.monotonic() - start_s
            if source.live and elapsed_s < SETTLE_S:
                continue
            looked += 1
            poses = estimator.process(frame, alone=source.pictures).poses
            best = upright_bgr(frame), poses
            if poses or elapsed_s > LONGEST_S:
                break
    if best is None:
        raise SourceError(f"{source.name}: no picture came within {LONGEST_S:.0f} s. `edge-pose doctor` looks why")
    return best
