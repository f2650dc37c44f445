import itertools
import math

import numpy as np
import pytest
from conftest import frame, settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from simulated_people import World, tracker

from edge import roi
from edge.association import Trail, same_joints
from edge.clothes import OTHERS, UNSURE, Outfit, distance, look_at
from edge.estimator import PoseEstimator
from edge.identity import Lost
from edge.pose import KEYPOINT_NAMES, MIRRORED, Clothes, Orientation

SHOULDERS_AND_HIPS = {11: (0.6, 0.3), 12: (0.4, 0.3), 23: (0.58, 0.6), 24: (0.42, 0.6)}
RED, NAVY, BLACK, GREY = (180, 30, 40), (30, 40, 110), (12, 12, 12), (128, 128, 128)


def crop(upper, lower, background=(90, 160, 60)):
    """A crop, RGB, of somebody who wears these colours: down to the middle of their torso, and below."""
    image = np.full((256, 256, 3), background, np.uint8)
    image[70:115, 100:156] = upper
    image[115:190, 100:156] = lower
    return image


def points(turned=False):
    joints = np.zeros((33, 2), np.float32)
    for joint, (x, y) in SHOULDERS_AND_HIPS.items():
        joints[joint] = (1 - x if turned else x), y
    return joints


def wearing(color, lower=None, from_front=True):
    return Clothes(look_at(crop(color, lower or color), "RGB", points()).colours, from_front)


def worn(*looks, seconds=1.0, start_s=0.0):
    outfit = Outfit()
    for look in looks:
        for step in range(round(seconds * 30)):
            outfit.see(look, start_s + step / 30)
        start_s += seconds
    return outfit


def test_colours_are_those_of_the_torso_half_by_half():
    colours = look_at(crop(RED, NAVY), "RGB", points()).colours
    assert colours[0] == pytest.approx([sum(RED) / 6, 150, 65], rel=1e-7, abs=1e-9)
    assert colours[1] == pytest.approx([sum(NAVY) / 6, -10, -75], rel=1e-7, abs=1e-9)


def test_the_order_of_the_channels_does_not_matter():
    image = crop(RED, NAVY)
    swapped = np.ascontiguousarray(image[..., ::-1])
    rgb, bgr = look_at(image, "RGB", points()), look_at(swapped, "BGR", points())
    assert np.array_equal(rgb.colours, bgr.colours)


def test_the_front_is_told_from_the_back():
    image = crop(RED, RED)
    assert look_at(image, "RGB", points()).from_front
    assert not look_at(image, "RGB", points(turned=True)).from_front


@pytest.mark.parametrize("place", [-3.0, 7.0, math.nan])
def test_a_torso_outside_of_the_crop_is_no_error(place):
    joints = points()
    joints[[11, 23]] = place
    assert np.isfinite(look_at(crop(RED, RED), "RGB", joints).colours).all()


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations((RED, NAVY, BLACK, GREY), 2)))
def test_different_clothes_are_far_apart(first, second):
    assert distance(wearing(first).colours, wearing(second).colours) > OTHERS


@pytest.mark.parametrize("light", [0.5, 0.8, 1.25])
def test_the_same_clothes_in_other_light_are_not(light):
    lit = tuple(round(light * value) for value in RED)
    assert distance(wearing(RED).colours, wearing(lit).colours) < 2


def test_black_is_as_far_from_everything_as_it_is():
    assert distance(np.zeros((2, 3)), wearing(RED).colours) == pytest.approx(
        math.hypot(sum(RED) / 6, 150, 65), rel=1e-6
    )


def test_clothes_are_known_after_a_moment():
    assert worn(wearing(RED), seconds=0.1).apart(wearing(NAVY)) == UNSURE
    assert worn(wearing(RED)).apart(wearing(NAVY)) > OTHERS
    assert worn(wearing(RED)).apart(wearing(RED)) < 1
    assert worn(wearing(RED)).apart(None) == UNSURE


def test_front_and_back_may_differ():
    outfit = worn(wearing(RED), wearing(BLACK, from_front=False), wearing(RED))
    assert outfit.strange_since_s == math.inf
    assert outfit.apart(wearing(BLACK, from_front=False)) < 1
    assert outfit.apart(wearing(BLACK)) > OTHERS


def test_a_side_that_was_never_seen_speaks_for_somebody_or_not_at_all():
    assert worn(wearing(RED)).apart(wearing(RED, from_front=False)) < 1
    assert worn(wearing(RED)).apart(wearing(NAVY, from_front=False)) == UNSURE


def test_what_is_strange_is_not_learnt():
    outfit = worn(wearing(RED), wearing(NAVY), seconds=3)
    assert outfit.strange_since_s == pytest.approx(3.0, abs=0.2)
    assert outfit.apart(wearing(RED)) < 5


def test_light_that_fades_is_learnt():
    fading = [wearing(tuple(round(value * 0.97**step) for value in (220, 120, 60))) for step in range(60)]
    outfit = worn(*fading, seconds=0.2)
    assert outfit.strange_since_s == math.inf
    assert outfit.apart(fading[-1]) < OTHERS


def person(x, color, y=300):
    return x, y, 0.7, 0.99, wearing(color)


def pair(first, second):
    """Two who have been followed beside each other for a second: their world, and their ids."""
    world = World(tracker(max_people=2, search_interval=0.1), [first, second])
    world.pass_time(1.5)
    return world, ids_by_place(world)


def ids_by_place(world):
    return [one.id for one in sorted(world.tracker.people, key=lambda one: one.roi.x_px)]


def test_two_who_were_taken_for_each_other_get_their_ids_back():
    world, (red, navy) = pair(person(400, RED), person(455, NAVY))
    world.people = [person(400, NAVY), person(455, RED)]
    world.pass_time(0.5)
    assert ids_by_place(world) == [navy, red]


def test_of_two_who_were_taken_for_each_other_both_are_known_by_their_clothes():
    world, (red, navy) = pair(person(400, RED), person(455, NAVY))
    lost = Trail()
    lost.add(world.time_s, roi.Roi(455.0, 300.0, 200.0, 0.0))  # nearer to one of them, but dressed otherwise
    world.tracker._memory._lost.append(Lost(99, lost, worn(wearing(GREY)), world.time_s))
    world.people = [person(400, NAVY), person(455, RED)]
    assert not [ids for ids in world.pass_time(0.5) if 99 in ids]
    assert ids_by_place(world) == [navy, red]


def test_of_two_tracks_on_one_person_the_one_in_other_clothes_is_dropped():
    for color in (RED, NAVY):
        world, ids = pair(person(400, RED), person(600, NAVY))
        # The one in front stands where the other one goes, so that ways and places say nothing.
        world.people = [person(500, color)]
        for one in world.tracker.people:
            one.roi = roi.Roi(500, 300, 200, 0.0)
        world.frame()
        assert ids_by_place(world) == [ids[0] if color == RED else ids[1]]


def test_somebody_else_at_the_same_place_is_not_taken_for_who_was_lost():
    for color, same in ((RED, True), (NAVY, False)):
        world, (red, _) = pair(person(400, RED), person(800, GREY))
        world.people = world.people[1:]
        world.pass_time(0.5)
        world.people.insert(0, person(400, color))
        world.pass_time(1)
        assert (ids_by_place(world)[0] == red) == same


def test_a_stranger_in_somebodys_place_is_new_and_who_was_there_is_known_again():
    world, (red, grey) = pair(person(400, RED), person(800, GREY))
    world.people[0] = person(400, NAVY)
    world.pass_time(0.2)
    assert ids_by_place(world) == [red, grey]  # it may be an arm
    world.pass_time(0.4)
    new = ids_by_place(world)[0]
    assert new not in (red, grey)
    world.people[0] = person(400, RED)
    world.pass_time(0.4)
    assert ids_by_place(world) == [red, grey]


def test_an_arm_before_the_chest_changes_nothing():
    world, ids = pair(person(400, RED), person(800, GREY))
    for _ in range(5):
        world.people[0] = person(400, BLACK)
        world.pass_time(0.15)
        world.people[0] = person(400, RED)
        world.pass_time(1)
    assert ids_by_place(world) == ids


def test_somebody_seen_the_wrong_way_round_is_the_same():
    points = np.random.default_rng(0).uniform(300, 500, (33, 2))
    turned = points[MIRRORED] + 5
    assert same_joints(points, turned, 200.0)
    assert not same_joints(points, turned + 40, 200.0)
    assert [KEYPOINT_NAMES[one] for one in (MIRRORED[0], MIRRORED[9], MIRRORED[11])] == [
        "nose",
        "mouth_right",
        "right_shoulder",
    ]


def test_without_clothes_nobody_is_renamed():
    world = World(tracker(max_people=2), [(400, 300), (800, 300)])
    assert world.pass_time(3)[-1] == [1, 2]
    assert world.tracker.recognise(world.time_s) == set()


@given(seed=st.integers(0, 2**32 - 1))
@hypothesis_settings(max_examples=30)
def test_whatever_people_wear_no_two_have_one_id(seed):
    rng = np.random.default_rng(seed)
    world = World(tracker(max_people=4, search_interval=0.1))
    colors = [RED, NAVY, BLACK, GREY]
    for _ in range(120):
        if rng.random() < 0.1:
            world.people = [
                person(rng.uniform(100, 1100), colors[rng.integers(4)], rng.uniform(100, 600))
                for _ in range(rng.integers(5))
            ]
        for at, (x, *rest) in enumerate(world.people):
            color = wearing(colors[rng.integers(4)]) if rng.random() < 0.05 else rest[-1]
            world.people[at] = (x + rng.normal(0, 8), *rest[:-1], color)
        ids = world.frame()
        assert len(set(ids)) == len(ids)
        assert len(world.tracker.ids()) == len(world.tracker.people)


def test_clothes_in_a_real_picture_are_the_same_in_any_order_of_channels_and_turn(clip_frames):
    image = clip_frames[60]
    looks = []
    for changed in (
        {"image": image},
        {"image": image[..., ::-1], "color": "RGB"},
        {"image": np.rot90(image, -1), "orientation": Orientation(270)},
    ):
        estimator = PoseEstimator(settings(tracker__max_people=2))
        picture = frame(np.ascontiguousarray(changed.pop("image")), **changed)
        estimator.process(picture)
        (person,) = estimator._tracker.people
        looks.append(person.last.found.clothes)
    for look in looks[1:]:
        np.testing.assert_allclose(look.colours, looks[0].colours, atol=1)
    assert len({look.from_front for look in looks}) == 1


def test_of_somebody_half_out_of_the_frame_no_clothes_are_seen(clip_frames):
    estimator = PoseEstimator(settings(tracker__max_people=2))
    estimator.process(frame(clip_frames[60]), alone=False)
    (person,) = estimator._tracker.people
    middle = int(person.roi.x_px)
    cut = np.ascontiguousarray(clip_frames[60][:, middle:])
    region = roi.Roi(0.0, person.roi.y_px, person.roi.side_px, person.roi.rotation_rad)
    estimator._landmarks.load(frame(cut), region)
    assert estimator._landmarks.infer(region).clothes is None


def test_clothes_are_not_looked_at_where_one_person_is_followed(clip_frames):
    estimator = PoseEstimator(settings())
    estimator.process(frame(clip_frames[60]))
    assert estimator._tracker.people[0].last.found.clothes is None


def test_smoothing_begins_anew_with_another_id(clip_frames, monkeypatch):
    estimator = PoseEstimator(settings(tracker__max_people=2))
    estimator.process(frame(clip_frames[60], 1.0))
    (person,) = estimator._tracker.people
    stale = estimator._smoothers[person.id]
    monkeypatch.setattr(estimator._tracker, "recognise", lambda _: {person.id})
    estimator.process(frame(clip_frames[61], 1.033))
    assert estimator._smoothers[person.id] is not stale
