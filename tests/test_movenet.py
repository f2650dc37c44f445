"""Where MoveNet looks in a picture, and where what it sees lies; nothing is run."""

import numpy as np
import pytest

from tests.benchmarks import movenet_model
from tests.benchmarks.movenet_model import INPUT_PX, Look, Region


def blob(height: int, width: int, x: float, y: float) -> np.ndarray:
    """A light spot in the dark, blue so that a change of the channels' order shows."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    light = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 8.0**2))
    return np.stack([light, light * 0, light * 0], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size", [(300, 500), (500, 300), (90, 120)])
def test_a_spot_of_the_input_lies_where_it_was_in_the_picture(size: tuple[int, int]) -> None:
    x, y = 0.6 * size[1], 0.3 * size[0]
    image = blob(*size, x, y)
    for region in (movenet_model.whole(image), Region(x - 70.0, y - 50.0, 130.0)):
        seen = movenet_model._input(image, region)
        light = seen[:, :, 2].astype(float)
        assert not seen[:, :, 0].any()
        rows, columns = np.mgrid[:INPUT_PX, :INPUT_PX] + 0.5
        shares = np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum() / INPUT_PX
        # A spot near the edge is cut off a little: half a pixel is asked for.
        assert shares * region.side + (region.left, region.top) == pytest.approx((x, y), abs=0.5)


def test_the_second_look_holds_the_body_or_everything() -> None:
    image = np.zeros((400, 600, 3), np.uint8)
    joints = np.tile([300.0, 200.0], (17, 1))
    joints[[5, 6]] = 300, 160
    joints[0] = 300, 130
    body = movenet_model.around(image, Look(joints, np.ones(17)))
    assert (body.left, body.top, body.side) == pytest.approx((216, 116, 168))  # 70 px to the nose, times 1.2, twice
    joints[0] = 0, 0
    unlikely = np.ones(17)
    unlikely[0] = 0.1
    torso = movenet_model.around(image, Look(joints, unlikely))
    assert torso.side == pytest.approx(152)  # 40 px to the shoulders, times 1.9, twice
    everything = Region(0.0, -100.0, 600.0)
    assert movenet_model.around(image, Look(joints, np.ones(17))) == everything
    assert movenet_model.around(image, Look(joints, np.full(17, 0.1))) == everything
