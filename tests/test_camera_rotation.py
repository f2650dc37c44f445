"""A camera that hangs sideways or looks into a mirror: its keypoints, set right, are those of an upright one."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import settings
from numpy.typing import NDArray

from edge.camera import open_source
from edge.estimator import PoseEstimator
from edge.pose import Degrees

# What a camera delivers that is to be turned clockwise by the key.
HUNG = {0: None, 90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
FIRST, FRAMES = 20, 16
FPS = 30.0


@pytest.fixture(scope="module")
def upright(clip_frames: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Turned frames must agree on where nobody is found, too."""
    chosen = clip_frames[FIRST : FIRST + FRAMES]
    return [np.asarray(cv2.resize(image, (640, 480), interpolation=cv2.INTER_AREA), np.uint8) for image in chosen]


def keypoints(
    images: list[NDArray[np.uint8]], folder: Path, rotate: Degrees, *, mirror: bool
) -> list[list[NDArray[np.float32]]]:
    """Of each frame of a clip with these pictures, the keypoints of everybody in it, frame px."""
    height, width = images[0].shape[:2]
    clip = folder / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"FFV1"), FPS, (width, height))  # loses nothing
    for image in images:
        writer.write(image)
    writer.release()
    chosen = settings(camera__source=str(clip), camera__rotate=rotate, camera__mirror=mirror)
    estimator = PoseEstimator(chosen)
    with open_source(chosen.camera) as source:
        return [[pose.keypoints_px[:, :2] for pose in estimator.process(frame).poses] for frame in source]


@pytest.fixture(scope="module")
def expected(
    upright: list[NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory
) -> list[list[NDArray[np.float32]]]:
    return keypoints(upright, tmp_path_factory.mktemp("upright"), 0, mirror=False)


@pytest.mark.parametrize(("rotate", "mirror"), [(90, False), (180, False), (270, False), (90, True)])
def test_keypoints_of_a_turned_camera_are_those_of_an_upright_one(
    upright: list[NDArray[np.uint8]],
    expected: list[list[NDArray[np.float32]]],
    tmp_path: Path,
    rotate: Degrees,
    mirror: bool,
) -> None:
    code = HUNG[rotate]
    assert code is not None
    delivered = [np.asarray(cv2.rotate(image[:, ::-1] if mirror else image, code), np.uint8) for image in upright]
    found = keypoints(delivered, tmp_path, rotate, mirror=mirror)
    assert [len(poses) for poses in found] == [len(poses) for poses in expected]
    assert sum(map(len, found)) > FRAMES / 4
    pairs = zip(itertools.chain(*found), itertools.chain(*expected), strict=True)
    assert max(float(np.abs(one - other).max()) for one, other in pairs) < 1.0
