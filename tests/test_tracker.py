import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import frame
from hypothesis import given
from hypothesis import strategies as st
from simulated_people import SIZE_PX, WEIGHTS, World, detection, finder_of, landmarks, scripted_estimator, tracker

from edge import roi
from edge.acquisition import CLOSER_COST, same_person
from edge.evidence import NAMES, Weights, clues_of, mean_clues, score_logit, weights_for
from edge.liveness import Liveness
from edge.pose import Landmarks
from edge.roi import usable


def test_nobody_held_detect_every_frame():
    world = World(tracker(idle_fps=0))
    world.pass_time(0.5)
    assert world.detector_runs == 15


def test_an_empty_room_is_searched_seldom_unless_something_moves():
    watching, asked = tracker(idle_fps=5), []

    def still():
        asked.append(1)
        return False

    finder = finder_of(World(watching).look)
    assert watching.wants_detection(10.0, still)  # never looked yet
    assert asked == []
    watching.search([], finder, 10.0)
    assert not watching.wants_detection(10.1, still)
    assert watching.wants_detection(10.1, lambda: True)
    assert watching.wants_detection(10.21, still)
    assert len(asked) == 1


@pytest.mark.parametrize(("fps", "every"), [(30, 6), (25, 5), (12, 3)])
def test_an_empty_room_is_searched_in_the_frame_in_which_it_is_due(fps, every):
    watching, searched = tracker(idle_fps=5), []
    finder = finder_of(World(watching).look)
    for number in range(60):
        time_s = 3.0 + number / fps
        if watching.wants_detection(time_s, lambda: False):
            watching.search([], finder, time_s)
            searched.append(number)
    assert searched == list(range(0, 60, every))


@pytest.mark.parametrize("score", [0.2, 0.35, 0.45])
def test_after_a_cut_to_a_thing_where_somebody_was_nobody_is_published(score):
    world = World(tracker(), [(600, 300, 0.8)])
    assert world.pass_time(1)[-1] == [1]
    world.people, world.score = [(600, 300, 0.42)], score  # neither model is sure of it, and it does not move
    assert not any(world.pass_time(4))


def test_after_a_cut_whoever_is_beyond_doubt_where_somebody_was_has_their_id_and_one_pose():
    estimator = scripted_estimator(World(tracker(), [(600, 300, 0.8)]))
    picture = frame(np.zeros((720, 1280, 3), np.uint8))

    def ids(number):
        poses = estimator.process(replace(picture, time_s=number / 30)).poses
        return [(pose.id, pose.source) for pose in poses]

    assert [ids(number) for number in range(60)][-1] == [(1, "tracked")]
    world = estimator.world
    world.people, world.score = [(600, 300, 0.42)], 0.4
    world.look = lambda region, see=world.look: see(region) if world.looks.pop(0) else landmarks(600, 300, 200.0, 0.8)
    world.looks = [True] + [False] * 9  # the first look sees little, and those of the search somebody for sure
    assert ids(60) == [(1, "detected")]


def test_somebody_whom_one_blurred_frame_hides_is_the_same_afterwards():
    world = World(tracker(), [(600, 300, 0.8)])
    world.pass_time(1)
    world.score = 0.4
    for peak in (0.42, 0.8, 0.8):
        world.people = [(600, 300, peak)]
        seen = world.frame()
    assert seen == [1]
    world.people, world.score = [(600, 300, 0.42)], 0.9  # the detector sees them plainly
    assert world.frame() == [1]


def test_somebody_plain_to_see_is_published_in_the_same_frame_and_followed_with_few_detector_runs():
    world = World(tracker(), [(600, 300)])
    assert world.frame() == [1]
    assert all(ids == [1] for ids in world.pass_time(16))
    assert world.detector_runs == 1 + 3  # once to find, and every 5 s to verify


@pytest.mark.parametrize(("step_s", "wait_s"), [(1 / 30, 0.2), (1 / 10, 0.4)])
def test_somebody_who_is_hard_to_see_is_published_when_they_have_moved(step_s, wait_s):
    world = World(tracker(), [(600, 300, 0.42)], step_s)
    assert world.frame() == []
    while world.frame() == []:
        world.people = [(600 + 100 * world.time_s, 300, 0.42)]
    assert world.time_s <= wait_s + 2 * step_s


def test_what_trembles_in_its_place_is_never_published():
    world, rng = World(tracker(idle_fps=0), [(600, 300, 0.42)]), np.random.default_rng(0)
    for _ in range(300):
        world.people = [(600 + rng.normal(0, 5), 300 + rng.normal(0, 5), 0.42)]
        assert world.frame() == []


@pytest.mark.parametrize(
    ("way_px", "upright", "alive"),
    [
        ((1, 2, 3, 4, 5), False, True),
        ((1, 2, 3, 4, 1, 2, 1), False, False),
        ((1, 2, 3, 4, 1, 2, 1), True, True),
        ((1, 0, 1, 0, 1, 0, 1), True, False),
    ],
)
def test_what_lies_and_moves_like_a_person_in_one_frame_only_does_not_live(way_px, upright, alive):
    watched = Liveness()
    way = enumerate((0, *way_px))
    seen = [watched.alive(np.full((33, 2), x, np.float32), number / 30, upright=upright) for number, x in way]
    assert any(seen) == alive


def test_somebody_the_plain_detection_misses_is_found_in_a_picture_by_itself_and_confirmed_by_the_wider_one():
    world, asked = World(tracker(), [(600, 300, 0.5)]), []

    def wider():
        asked.append(1)
        return world.detect()

    for patient, found in ((True, 0), (False, 1)):
        finder = finder_of(world.look, wider)
        assert len(world.tracker.search([], finder, 1.0, patient=patient)) == found
    alone, both = (
        finder_of(world.look, seen).closely(world.detect(), [], 1, 2, thorough=False, dismissed=[])[0]
        for seen in (list, world.detect)
    )
    assert alone.log_odds < both.log_odds
    asked.clear()
    world.people = []
    finder_of(world.look, wider).closely([detection(600, 300, score=0.1)], [], 1, 2, thorough=False, dismissed=[])
    assert asked == []  # what is hopeless at first sight costs no second run of the detector


def test_whom_the_detector_sees_in_parts_only_is_found_in_a_picture_by_itself_and_needs_more_for_them():
    world, asked = World(tracker(), [(600, 300, 0.6)]), []

    def closer():
        asked.append(1)
        return [world.detect(), []]

    finder = finder_of(world.look, closer=closer)
    assert finder.closely([], [], 1, 3, thorough=False, dismissed=[]) == []
    assert asked == []  # in a film there is no time for it
    in_part, in_whole = (finder.closely(whole, [], 1, 3, thorough=True, dismissed=[]) for whole in ([], world.detect()))
    assert [len(in_part), len(in_whole)] == [1, 1]
    gain = WEIGHTS.detector * (in_whole[0].detector_logit - in_part[0].detector_logit)
    assert in_whole[0].log_odds - in_part[0].log_odds == pytest.approx(gain + CLOSER_COST)


@pytest.mark.parametrize(
    ("detections", "wanted", "thorough", "places"),
    [
        # Plain to see: one look, and nobody else who is no nearer is looked at.
        ([detection(600, 300), detection(900, 300)], 1, False, [600]),
        # The same person, larger: who is in view already.
        ([detection(600, 300), detection(610, 300, side=300.0)], 1, False, [600]),
        # Somebody nearer to the camera comes first, whoever the detector is surer of.
        ([detection(600, 300), detection(900, 300, side=300.0)], 1, False, [600, 900]),
        # Room for another.
        ([detection(600, 300), detection(900, 300)], 2, False, [600, 900]),
        # A picture by itself: everybody is looked at three times.
        ([detection(600, 300), detection(900, 300)], 1, True, [600, 600, 600, 900, 900, 900]),
    ],
)
def test_no_look_is_spent_on_what_would_change_nothing(detections, wanted, thorough, places):
    world, looked, asked = World(tracker(), [(600, 300), (900, 300)]), [], []

    def look(region):
        looked.append(round(region.x_px, -2))
        return world.look(region)

    def wider():
        asked.append(1)
        return []

    found = finder_of(look, wider).closely(detections, [], wanted, 3, thorough=thorough, dismissed=[])
    assert looked == places
    assert bool(asked) == thorough
    assert len(found) == len(set(places))


@pytest.mark.parametrize(
    ("regions", "thorough", "first_x"),
    [
        ([(1200, 210.0), (640, 200.0)], True, 640),  # nearly as near: the one in the middle of the picture
        ([(1200, 210.0), (640, 200.0)], False, 1200),  # not in a film
        ([(640, 200.0), (900, 400.0)], True, 900),  # twice as near, and not far from the middle
        ([(640, 200.0), (1280, 400.0)], True, 640),  # twice as near, but half out of the picture
        ([(640, 200.0), (1280, 400.0)], False, 1280),
    ],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_who_is_near_is_taken_first_and_in_a_picture_by_itself_who_is_in_the_middle(regions, thorough, first_x, turn):
    sides = dict(regions)

    def look(region):
        x = min(sides, key=lambda one: abs(one - region.x_px))
        return landmarks(x, 360, sides[x])

    detections = [detection(x, 360, side) for x, side in regions][::turn]
    finder = finder_of(look)
    found = finder.closely(detections, [], 2, 3, thorough=thorough, dismissed=[])
    assert [round(one.region.x_px) for one in found] == [first_x, *(x for x in sides if x != first_x)]


def test_in_a_still_room_a_thing_is_looked_at_every_other_second_and_at_once_when_something_moves():
    watching, looked, moving = tracker(idle_fps=5), [], [False]

    def look(region):
        looked.append(region)
        return landmarks(600, 300, peak=0.2, presence=0.01)

    def pass_time(start_s, count):
        looked.clear()
        for number in range(count):
            time_s = start_s + number / 4
            assert watching.wants_detection(time_s, lambda: moving[0])
            finder = finder_of(look)
            watching.search([detection(600, 300, score=0.1)], finder, time_s)
        return len(looked)

    assert pass_time(1.0, 16) == 2
    moving[0] = True
    assert pass_time(5.0, 10) == 10


def test_somebody_in_doubt_is_published_as_soon_as_a_few_looks_are_sure():
    world = World(tracker(), [(600, 300, 0.4)])
    assert world.frame() == []
    world.people = [(600, 300, 0.75)]
    world.frame()
    assert world.frame() == [1]


def test_what_the_landmark_model_does_not_recognise_is_never_published():
    world = World(tracker(), [(600, 300, 0.3, 0.997)])
    assert not any(world.pass_time(3))


def test_a_ghost_that_flickers_up_once_is_never_published():
    world = World(tracker(idle_fps=0), [(600, 300, 0.4)])
    for number in range(60):
        world.people = [(600, 300, 0.42 if number % 20 == 0 else 0.3)]
        assert world.frame() == []


def test_a_ghost_that_the_detector_does_not_see_again_is_dropped_and_a_person_is_not():
    ghost, person = (World(tracker(), [(600, 300, peak)]) for peak in (0.5, 0.7))
    for world in (ghost, person):
        world.pass_time(1.0)
        assert world.frame() == [1]
        world.blind = True
        world.pass_time(9)
    assert ghost.frame() == []
    assert person.frame() == [1]


def test_one_blurred_frame_loses_nobody_and_nobody_in_view_is_noticed_soon():
    world = World(tracker(), [(600, 300)])
    world.pass_time(1)
    world.people = [(600, 300, 0.25, 0.3)]
    assert world.frame() == [1]
    world.people = []
    assert world.pass_time(0.5)[-1] == []


def test_whoever_is_lost_is_found_again_as_the_same_within_two_detector_runs():
    world = World(tracker(), [(600, 300)])
    world.pass_time(1)
    someone, world.people = world.people, []
    world.pass_time(0.8)
    assert world.frame() == []
    runs, world.people = world.detector_runs, someone
    while world.frame() == []:
        assert world.detector_runs < runs + 2
    assert world.tracker.people[0].id == 1


def test_after_the_memory_has_faded_it_is_a_new_id():
    world = World(tracker(), [(600, 300)])
    world.pass_time(1)
    someone, world.people = world.people, []
    world.pass_time(3.5)
    world.people = someone
    assert world.pass_time(0.5)[-1] == [2]


def test_two_who_walk_behind_each_other_keep_their_ids():
    world = World(tracker(max_people=2))
    for number in range(120):
        left, right = 200 + 6 * number, 1000 - 6 * number
        hidden = abs(left - right) < 60
        world.people = [(left, 300)] if hidden else [(left, 300), (right, 300)]
        ids = world.frame()
        if number == 20:
            by_place = {person.id: person.roi.x_px for person in world.tracker.people}
            assert sorted(by_place.values()) == pytest.approx([left, right])
    assert sorted(ids) == sorted(by_place)
    left_id = min(by_place, key=by_place.get)
    now = {person.id: person.roi.x_px for person in world.tracker.people}
    assert now[left_id] == pytest.approx(left)


def test_people_side_by_side_are_two_and_one_seen_twice_is_one():
    world = World(tracker(max_people=3), [(600, 300), (660, 300)])
    world.pass_time(2)
    assert len(world.frame()) == 2
    world = World(tracker(max_people=3), [(600, 300)])
    twice = [detection(600, 300), detection(612, 306, 210.0, 0.4)]
    for _ in range(60):
        assert len(world.frame(detections=twice)) == 1


def test_room_for_more_is_searched_at_the_interval():
    world = World(tracker(max_people=2, search_interval=0.5), [(600, 300)])
    world.pass_time(5)
    assert 9 <= world.detector_runs <= 11


def test_after_a_gap_in_time_the_detector_looks_at_once():
    world = World(tracker(verify_interval=0), [(600, 300)])
    world.pass_time(1)
    runs, world.time_s = world.detector_runs, world.time_s + 5
    world.frame()
    assert world.detector_runs == runs + 1


def test_over_a_change_of_the_pictures_size_nobody_is_followed():
    estimator = scripted_estimator(World(tracker(), [(600, 300)]))
    for number, (size, source) in enumerate(
        [((720, 1280), "detected"), ((720, 1280), "tracked"), ((360, 640), "detected")]
    ):
        (pose,) = estimator.process(replace(frame(np.zeros((*size, 3), np.uint8)), time_s=number / 30)).poses
        assert pose.source == source


@pytest.mark.parametrize(("gap_s", "ids"), [(1.5, [1]), (3.0, [2]), (8 * 3600.0, [2])])
def test_whoever_is_there_after_a_gap_longer_than_anybody_is_remembered_is_new(gap_s, ids):
    world = World(tracker(), [(600, 300)])
    world.pass_time(1)
    world.time_s += gap_s
    assert world.frame() == ids


def test_a_frame_every_three_seconds_is_no_gap():
    world = World(tracker(), [(600, 300)], step_s=3.0)
    assert [world.frame() for _ in range(9)] == [[1]] * 9


@pytest.mark.parametrize("step_s", [1.0, 1.25])
def test_whoever_walks_through_a_frame_a_second_stays_the_same(step_s):
    world = World(tracker(), [(150, 300)], step_s)
    world.pass_time(4)
    for number in range(6):
        world.people = [(150 + 100 * step_s * (number + 1), 300)]
        assert world.frame() == [1]


def in_doubt(world, x):
    """Somebody whom neither model is sure of, and who moves as people do."""
    return (x + 60 * math.sin(2 * world.time_s), 300, 0.42)


def published_after_s(world, x):
    start_s, world.score = world.time_s, 0.5
    for _ in range(600):
        world.people = [in_doubt(world, x)]
        if world.frame():
            return world.time_s - start_s
    return math.inf


def test_a_gap_speaks_against_nobody():
    world = World(tracker(), [(600, 300)], step_s=1 / 30)
    world.pass_time(2)
    world.time_s += 1.9  # not so long that all is forgotten
    world.tracker.people[0].alive_s -= 1.5
    world.people = []
    world.pass_time(2.5)
    assert published_after_s(world, 600) < 0.5


def test_where_a_double_was_somebody_is():
    world = World(tracker(max_people=2))
    assert published_after_s(world, 600) < 0.5
    x = world.people[0][0]

    def look(region, see=world.look):
        return landmarks(x + 40, 330, 200.0, 0.42) if abs(region.x_px - x - 40) < 1 else see(region)

    world.tracker._searched_s = -math.inf
    world.frame(look, [detection(x, 300), detection(x + 40, 330, score=0.5)])
    assert len(world.tracker.people) == 2
    world.frame()
    assert len(world.tracker.people) == 1
    world.people = []
    world.pass_time(3)
    assert published_after_s(world, 600) < 0.5


@pytest.mark.parametrize("fps", [30, 5, 1])
def test_whoever_is_in_doubt_makes_way_for_who_is_not(fps):
    world, chance = World(tracker(), step_s=1 / fps), np.random.default_rng(0)
    world.score = 0.5

    def trembling():
        x, y = chance.normal((300, 300), 3)
        return (x, y, 0.42)

    while not world.tracker.people:
        world.people = [trembling()]
        assert world.frame() == []
    start_s, ids = world.time_s, []
    while not ids:
        world.people = [trembling(), (900, 300, 0.9)]
        ids = world.frame()
    assert world.tracker.people[0].roi.x_px == 900
    assert world.time_s - start_s < 0.51 + 1 / fps  # the detector is asked about whoever is in doubt every half second


def test_the_plain_way_believes_the_best_detection_and_the_presence():
    world = World(tracker(acquisition="single"), [(600, 300, 0.1)])
    assert world.frame() == [1]
    assert all(ids == [1] for ids in world.pass_time(10))
    assert world.detector_runs == 1
    world.people = [(600, 300, 0.7, 0.4999)]
    assert world.frame() == []
    assert world.tracker.wants_detection(world.time_s + 0.01)


def test_forgetting_searches_anew():
    world = World(tracker(), [(600, 300)])
    world.frame()
    world.tracker.forget()
    assert world.tracker.people == []
    assert world.tracker.wants_detection(world.time_s)


def test_the_detector_counts_as_evidence():
    assert score_logit(0.5) == 0
    assert score_logit(0.0) == -3.5
    assert score_logit(1.0) == 3.5


def body(angle_rad, arm=0.16, shin=0.2):
    """A region turned by an angle, and a person of these measures, in sides, upright in it."""
    region = roi.Roi(600, 300, 200, angle_rad)
    keypoints = np.zeros((33, 5), np.float32)
    upright = {11: (0.12, -0.2), 12: (-0.12, -0.2), 13: (0.12, arm - 0.2)}
    upright |= {14: (-0.12, arm - 0.2), 25: (0.1, 0.2), 26: (-0.1, 0.2)}
    upright |= {27: (0.1, 0.2 + shin), 28: (-0.1, 0.2 + shin)}
    for joint, place in upright.items():
        keypoints[joint, :2] = roi.project(region, np.float32([place]) + 0.5)[0]
    keypoints[:, 4] = np.where(np.arange(33) < 11, 0.0, 0.5)
    peaks = np.where(np.arange(33) < 11, 0.9, 0.7).astype(np.float32)
    return Landmarks(0.5, 1.5, peaks, keypoints, np.zeros((2, 2), np.float32), None), region


def named(clues):
    return dict(zip(NAMES, clues.tolist(), strict=True))


@pytest.mark.parametrize("angle_rad", [0, 0.6, -2.5])
def test_measures_of_a_body_do_not_depend_on_how_it_lies_in_the_picture(angle_rad):
    clues = named(clues_of(*body(angle_rad)))
    lengths = {"ankles below knees": 0.2, "lower leg": 0.2, "upper arm": 0.16, "between the shoulders": 0.24}
    assert {name: clues[name] for name in lengths} == pytest.approx(lengths, abs=1e-4)


def test_each_part_of_a_body_is_judged_by_itself():
    clues = named(clues_of(*body(0)))
    assert (clues["presence"], clues["person"], clues["presence of feet"]) == (0, 1.5, 0)
    assert clues["presence of head"] == pytest.approx(-6)  # the model gives as next to none far too often
    assert (clues["peak of head"], clues["peak of hands"]) == pytest.approx((0.9, 0.7))


def test_legs_that_point_upwards_are_a_negative_clue_and_looks_are_averaged():
    upwards = clues_of(*body(0.6, shin=-0.1))
    assert named(upwards)["ankles below knees"] == pytest.approx(-0.1, abs=1e-4)
    assert named(upwards)["lower leg"] == pytest.approx(0.1, abs=1e-4)
    mean = mean_clues([upwards, clues_of(*body(0.0, shin=0.3))])
    assert named(mean)["ankles below knees"] == pytest.approx(0.1, abs=1e-4)
    legs = np.array([10.0 * (name == "ankles below knees") for name in NAMES])
    assert Weights(0, 1, legs).log_odds(mean, 0.5) == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize("variant", ["lite", "full", "heavy", "another"])
def test_there_is_a_weight_for_every_clue(variant):
    assert weights_for(variant).clues.shape == (len(NAMES),)


def test_what_is_no_number_is_nobody():
    assert WEIGHTS.log_odds(clues_of(landmarks(math.nan, 0), roi.Roi(0, 0, 100, 0)), 0) == -math.inf


wild = st.one_of(st.floats(-3000, 3000), st.sampled_from([math.nan, math.inf, -math.inf]))
sides = st.one_of(st.floats(1, 6000), st.sampled_from([0.0, math.nan, math.inf]))
shares = st.one_of(st.floats(0, 1), st.just(math.nan))
looks = st.builds(landmarks, wild, wild, sides, shares, shares)
near_looks = st.builds(landmarks, st.floats(500, 700), st.floats(300, 400), st.floats(150, 300), st.floats(0.4, 0.8))
detections = st.builds(detection, st.floats(-500, 1800), st.floats(-500, 1200), st.floats(1, 3000), st.floats(0.1, 1))
steps = st.tuples(
    st.lists(detections, max_size=5),
    st.lists(st.one_of(near_looks, looks), min_size=1, max_size=6),
    st.sampled_from([0.001, 1 / 30, 0.2, 3.0]),
)


def run(frames, max_people, acquisition):
    """What the tracker does with models that say anything at all; the rules hold after every frame."""
    world, history = World(tracker(max_people=max_people, acquisition=acquisition)), []
    for seen, answers, step_s in frames:
        world.step_s, given_ = step_s, iter(answers * 20)
        ids = world.frame(lambda _region, given_=given_: next(given_), seen)
        people = world.tracker.people
        assert len(people) <= max_people
        assert len(ids) == len(set(ids))
        assert all(usable(person.roi, *SIZE_PX) for person in people)
        assert all(0 <= person.score <= 1 for person in people)
        assert not any(same_person(a.last, b.last) for a in people for b in people if a is not b)
        history.append((world.time_s, ids, [person.roi for person in people]))
    return history


@given(st.lists(steps, max_size=25), st.integers(1, 5), st.sampled_from(["verified", "single"]))
def test_whatever_the_models_say_regions_stay_bounded_nobody_is_two_and_the_same_input_gives_the_same(
    frames, max_people, acquisition
):
    history = run(frames, max_people, acquisition)
    assert history == run(frames, max_people, acquisition)
    last_seen = {}
    for time_s, ids, _ in history:
        for one in ids:
            assert time_s - last_seen.get(one, time_s) <= 5.1  # remembered for 2 s, and the longest step
            last_seen[one] = time_s


pixels = st.floats(-4000, 4000)
regions = st.builds(roi.Roi, pixels, pixels, st.floats(1, 8000), st.floats(-3, 3))


@given(regions, regions)
def test_a_region_follows_another_whichever_came_first(first, second):
    assert roi.follows(first, second) == roi.follows(second, first)
    assert roi.follows(first, first)


@given(st.tuples(wild, wild), st.tuples(wild, wild))
def test_a_region_of_any_points_is_usable_or_refused(center, scale_point):
    region = roi.from_points(np.float32(center), np.float32(scale_point))
    if usable(region, *SIZE_PX):
        assert 16 <= region.side_px <= 4 * 1280
        assert -math.pi <= region.rotation_rad < math.pi
