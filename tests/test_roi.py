import math

import cv2
import numpy as np
import pytest
from conftest import frame
from hypothesis import given
from hypothesis import strategies as st

from edge import roi
from edge.pose import Detection, Orientation, Roi

angles = st.floats(-math.pi, math.pi, exclude_max=True)
rois = st.builds(Roi, st.floats(-500, 2500), st.floats(-500, 2500), st.floats(3, 3000), angles)


@pytest.mark.parametrize(
    ("scale_point", "rotation_deg"), [((100, 40), 0), ((160, 100), 90), ((100, 160), -180), ((40, 100), -90)]
)
def test_person_stands_upright_in_the_crop(scale_point, rotation_deg):
    region = roi.from_points(np.float32([100, 100]), np.float32(scale_point))
    assert (region.x_px, region.y_px) == (100, 100)
    assert region.side_px == pytest.approx(2 * 60 * 1.25)
    assert math.degrees(region.rotation_rad) == pytest.approx(rotation_deg)
    # In the crop the scale point lies straight above the centre, 0.5 / 1.25 of the side away.
    matrix = np.linalg.inv(roi.crop_to_frame(region, 1))
    assert (matrix @ (*scale_point, 1))[:2] == pytest.approx((0.5, 0.5 - 0.4), abs=1e-6)


def test_the_last_digit_of_a_detection_does_not_move_its_region():
    """What two processors' float sums differ by makes no other crop; and the grid is finer than a model sees."""
    points = np.float32([[400.1215, 300.4565], [433.3, 111.1]])
    # A few units in the last place, as was measured between x86-64 and arm64.
    noise = np.random.default_rng(3).uniform(-5e-5, 5e-5, (200, 2, 2)).astype(np.float32)
    regions = {roi.from_detection(Detection(1.0, np.zeros(4, np.float32), points + one)) for one in noise}
    assert len(regions) == 1
    exact, region = roi.from_points(*points), regions.pop()
    assert (region.x_px, region.y_px) == pytest.approx((exact.x_px, exact.y_px), abs=0.002)
    assert region.side_px == pytest.approx(exact.side_px, abs=0.002)
    assert region.rotation_rad == pytest.approx(exact.rotation_rad, abs=4e-5)


@given(rois)
def test_points_come_back_from_the_crop(region):
    points = np.random.default_rng(1).random((20, 2)).astype(np.float32)
    back = np.linalg.inv(roi.crop_to_frame(region, 256))
    projected = roi.project(region, points)
    crop_px = projected.astype(np.float64) @ back[:2, :2].T + back[:2, 2]
    assert np.abs(crop_px / 256 - points).max() < 1e-2 * max(1.0, 10 / region.side_px)


@given(rois)
def test_roi_comes_back_from_its_own_alignment_points(region):
    # The scale point lies 0.4 of a side above the centre, in the turned frame.
    ends = roi.project(region, np.float32([[0.5, 0.5], [0.5, 0.1]]))
    again = roi.from_points(ends[0], ends[1])
    tolerance = 1e-3 * max(1.0, abs(region.x_px), abs(region.y_px)) / 1.0
    assert (again.x_px, again.y_px) == pytest.approx((region.x_px, region.y_px), abs=tolerance)
    assert again.side_px == pytest.approx(region.side_px, abs=5 * tolerance)
    turn = math.remainder(again.rotation_rad - region.rotation_rad, 2 * math.pi)
    assert abs(turn) < 5 * tolerance / region.side_px


@given(st.floats(-1000, 1000))
def test_wrapped_angle_is_the_same_direction(angle):
    wrapped = roi.wrap_angle(angle)
    assert -math.pi <= wrapped < math.pi
    assert math.cos(wrapped) == pytest.approx(math.cos(angle), abs=1e-6)
    assert math.sin(wrapped) == pytest.approx(math.sin(angle), abs=1e-6)


def test_sampling_a_square_of_its_own_size_copies_it():
    image = np.random.default_rng(2).integers(0, 255, (300, 400, 3), np.uint8)
    out = np.zeros((64, 64, 3), np.uint8)
    roi.sample(frame(image), Roi(132, 82, 64, 0.0), out, zero_border=False)
    assert (out == image[50:114, 100:164]).all()


def test_sampling_turns_the_picture_upright():
    image = np.random.default_rng(3).integers(0, 255, (200, 200, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 4)
    upright, turned = np.zeros((2, 100, 100, 3), np.uint8)
    roi.sample(frame(image), Roi(100, 100, 100, 0.0), upright, zero_border=False)
    quarter = np.ascontiguousarray(np.rot90(image, k=-1))  # clockwise; (x, y) goes to (199 - y, x)
    roi.sample(frame(quarter), Roi(99, 100, 100, math.pi / 2), turned, zero_border=False)
    assert np.abs(upright.astype(int) - turned).max() <= 2


def test_outside_of_the_frame_the_edge_repeats_or_is_black():
    image = np.full((50, 50, 3), 200, np.uint8)
    out = np.zeros((32, 32, 3), np.uint8)
    roi.sample(frame(image), Roi(0, 0, 32, 0.0), out, zero_border=False)
    assert (out == 200).all()
    roi.sample(frame(image), Roi(0, 0, 32, 0.0), out, zero_border=True)
    assert (out[:15, :15] == 0).all()
    assert (out[17:, 17:] == 200).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (9, 5, 3), (480, 640, 3)])
def test_letterbox_holds_the_whole_frame(shape):
    region = roi.whole_frame(frame(np.zeros(shape, np.uint8)))
    corners = np.linalg.inv(roi.crop_to_frame(region, 1)) @ np.array([[0, 0, 1], [shape[1], shape[0], 1]], float).T
    assert corners[:2].min() >= -1e-9
    assert corners[:2].max() <= 1 + 1e-9
    assert max(np.ptp(corners[0]), np.ptp(corners[1])) == pytest.approx(1)


# Of the second one a row of sampling points lies halfway between two steps of the grid that they are rounded to.
HALFWAY = Roi(203.46568298339844, 344.16357421875, 257.659628728632, 0.11455704889492724)


@pytest.mark.parametrize("region", [Roi(70, 60, 90, 0.3), HALFWAY], ids=["any", "halfway"])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_turned_camera_gives_the_same_crop(rotate, mirror, region):
    upright = np.random.default_rng(4).integers(0, 255, (480, 640, 3), np.uint8)
    buffer = upright[:, ::-1] if mirror else upright
    buffer = np.ascontiguousarray(np.rot90(buffer, k=rotate // 90))  # undoes the clockwise turn
    expected, got = np.zeros((2, 256, 256, 3), np.uint8)
    roi.sample(frame(upright), region, expected, zero_border=False)
    roi.sample(frame(buffer, orientation=Orientation(rotate, mirror)), region, got, zero_border=False)
    assert (expected == got).all()
