import itertools

import cv2
import numpy as np
import pytest

from edge.pose import COCO_KEYPOINTS, KEYPOINT_NAMES, SKELETON, Frame, Orientation, Pose, Roi

TURNS = list(itertools.product((0, 90, 180, 270), (False, True)))


@pytest.mark.parametrize(("rotate", "mirror"), TURNS)
def test_orientation_agrees_with_turning_the_pixels(rotate, mirror):
    image = np.random.default_rng(0).integers(0, 255, (7, 11, 3), np.uint8)
    turned = np.rot90(image, k=-rotate // 90)
    turned = turned[:, ::-1] if mirror else turned
    frame = Frame(image, 0.0, 0.0, 0.0, orientation=Orientation(rotate, mirror))
    assert (frame.height_px, frame.width_px) == turned.shape[:2]
    to_buffer = frame.orientation.frame_to_buffer(11, 7)
    for y, x in itertools.product(range(frame.height_px), range(frame.width_px)):
        buffer_x, buffer_y, _ = to_buffer @ (x, y, 1)
        assert (image[round(buffer_y), round(buffer_x)] == turned[y, x]).all()


def test_rotation_is_clockwise():
    image = np.zeros((4, 6, 3), np.uint8)
    image[0, 0] = 255  # top left goes to top right
    turned = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
    y, x = np.argwhere(turned[:, :, 0])[0]
    assert (x, y) == (3, 0)
    buffer_x, buffer_y, _ = Orientation(90).frame_to_buffer(6, 4) @ (x, y, 1)
    assert (buffer_x, buffer_y) == (0, 0)


def test_names_and_skeleton_fit_together():
    assert len(KEYPOINT_NAMES) == len(set(KEYPOINT_NAMES)) == 33
    assert {joint for pair in SKELETON for joint in pair} == set(range(33))
    assert [KEYPOINT_NAMES[i] for i in COCO_KEYPOINTS[-2:]] == ["left_ankle", "right_ankle"]
    for first, second in SKELETON:  # no line joins a left and a right joint, but for the four that cross the body
        sides = {KEYPOINT_NAMES[joint].split("_")[0] for joint in (first, second)}
        assert sides != {"left", "right"} or (first, second) in {(11, 12), (23, 24)}


def test_box_is_round_all_keypoints():
    keypoints = np.zeros((33, 5), np.float32)
    keypoints[3, :2], keypoints[7, :2] = (-5, 40), (120, 8)
    box = Pose(1, 0.9, "tracked", keypoints, None, Roi(0, 0, 1, 0)).box_px()
    assert box == (-5, 0, 125, 40)
