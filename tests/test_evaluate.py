import json
import os
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_clip, settings
from shell import in_bash, said_by

from edge import cli
from edge.coco import AnnotatedPerson, load_people
from edge.errors import UsageError
from edge.evaluate import BOOTSTRAP_ROUNDS, Score, compare, cut_out, evaluate, summarise
from edge.evaluate_pictures import matched
from edge.pose import Pose, Roi

COCO_MINI = Path(__file__).parents[2] / "shared" / "coco-mini"


def person(labelled=17):
    marked = np.arange(17) < labelled
    return AnnotatedPerson(Path("x.png"), (0, 0, 10, 10), np.zeros((17, 2)), marked, 1.0)


def scored(*distances, name="m"):
    found = np.array([np.full(17, value) for value in distances])
    return Score(name, found, found[:, 0] < 0.1)


def test_pck_by_hand():
    people = [person(), person(), person(labelled=5), person()]
    result = summarise(scored(0.05, 0.15, 0.05, np.nan), people)
    assert (result.found, result.published) == (0.75, 0.5)
    assert result.pck["0.1"] == pytest.approx((17 + 5) / 56, abs=1e-4)
    assert result.pck["0.2"] == pytest.approx((17 + 17 + 5) / 56, abs=1e-4)
    assert result.groups["head"]["0.1"] == pytest.approx(10 / 20)
    assert result.groups["ankles"]["0.2"] == pytest.approx(4 / 6, abs=1e-4)


def test_paired_difference_by_hand():
    people = [person()] * 50
    better = scored(*[0.05] * 50)
    worse = scored(*[0.05] * 25, *[0.5] * 25)
    near, far = compare(better, worse, people)
    assert near.mean == far.mean == 0.5
    assert 0.3 < near.low < 0.5 < near.high < 0.7  # 50 people: about +- 2 sqrt(.25 / 50)
    assert compare(better, better, people)[0].low == compare(better, better, people)[0].high == 0


def of_random_people(number):
    generator = np.random.default_rng(5)
    people = [person(labelled=int(labelled)) for labelled in generator.integers(13, 18, number)]
    return *(scored(*generator.uniform(0, 0.3, number)) for _ in range(2)), people


@pytest.mark.parametrize("number", [1, 3, 41])
def test_an_interval_is_the_same_however_many_rounds_are_drawn_at_once(number):
    first, second, people = of_random_people(number)
    # All at once, as it is written in a textbook.
    draws = np.random.default_rng(0).integers(0, number, (BOOTSTRAP_ROUNDS, number))
    joints = np.array([person.labelled.sum() for person in people])
    labelled = np.array([person.labelled for person in people])
    near = [((score.distances <= 0.1) & labelled).sum(axis=1) for score in (first, second)]
    span = np.percentile((near[0] - near[1])[draws].sum(axis=1) / joints[draws].sum(axis=1), (2.5, 97.5)).round(4)
    compared = compare(first, second, people)
    assert [compared[0].low, compared[0].high] == span.tolist()
    for at_once in (1, 100, 333, BOOTSTRAP_ROUNDS):
        assert compare(first, second, people, at_once) == compared


def test_a_comparison_of_thousands_of_people_takes_little_memory():
    given = of_random_people(2000)
    tracemalloc.start()
    compare(*given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # the rounds all at once: 480 MB


def test_what_is_measured_is_told_though_the_comparison_fails(annotated, monkeypatch, capsys):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr("edge.evaluate.compare", full)
    with pytest.raises(MemoryError):
        evaluate(annotated / "people.json", annotated, [settings()] * 2, None)
    assert "1 people scored" in capsys.readouterr().out


@pytest.fixture(scope="module")
def annotated(clip, tmp_path_factory):
    """A picture from the clip with joints marked roughly, as one reads them off the screen: the woman of frame 99."""
    folder = tmp_path_factory.mktemp("annotated")
    image = next(image for number, image in enumerate(read_clip(clip)) if number == 99)
    cv2.imwrite(str(folder / "walker.png"), image)
    joints = {5: (1056, 600), 6: (1060, 602), 11: (1043, 728), 12: (1042, 728), 9: (940, 699), 15: (1128, 908)}
    keypoints = [value for joint in range(17) for value in (*joints.get(joint, (0, 0)), 2 if joint in joints else 0)]
    document = {
        "images": [{"id": 1, "file_name": "walker.png"}],
        "annotations": [
            {"image_id": 1, "bbox": [910, 520, 210, 410], "keypoints": keypoints},
            {"image_id": 1, "bbox": [0, 0, 5, 5], "keypoints": [0] * 51},
            {"image_id": 1, "bbox": [0, 0, 5, 5], "keypoints": keypoints, "iscrowd": 1},
        ],
    }
    (folder / "people.json").write_text(json.dumps(document))
    return folder


def test_a_person_is_cut_out_found_and_scored(annotated, tmp_path, capsys):
    chosen = settings(model__model="full", model__precision="float16")
    out = tmp_path / "result.json"
    result = evaluate(annotated / "people.json", annotated, [chosen], out)
    assert result.not_scored == 2
    assert result.results[0].found == 1
    assert result.results[0].pck["0.2"] >= 4 / 6
    assert "full float16" in capsys.readouterr().out
    assert result.pictures[0].found == 1
    assert result.pictures[0].unmatched == result.pictures[0].poses - 1
    assert json.loads(out.read_text())["results"][0]["people"] == 1


def test_a_full_output_and_a_name_that_is_no_text_cost_no_result(annotated, tmp_path):
    strange = tmp_path / os.fsdecode(b"people\xff.json")
    strange.write_bytes((annotated / "people.json").read_bytes())
    done = in_bash(f"edge-pose evaluate {tmp_path}/people* {annotated} --json {tmp_path}/out.json >/dev/full")
    assert done.returncode == 1
    assert said_by(done)[-1] == "edge-pose: standard output cannot be written: No space left on device"
    assert json.loads((tmp_path / "out.json").read_text())["annotations"] == r"people\xff.json"


def test_two_models_are_compared_on_the_same_people(annotated, capsys):
    arguments = ["evaluate", str(annotated / "people.json"), str(annotated), "--precision", "float16"]
    assert cli.main([*arguments, "--model", "lite", "--against", "full:float16"]) == 0
    assert "lite float16 minus full float16" in capsys.readouterr().out


def test_each_annotated_person_is_matched_once():
    first, second = (
        AnnotatedPerson(Path("x.png"), (0, 0, 10, 10), np.full((17, 2), at), np.ones(17, bool), 10.0) for at in (0, 50)
    )
    poses = [
        Pose(number, 0.9, "detected", np.full((33, 5), at, np.float32), None, Roi(0, 0, 1, 0))
        for number, at in enumerate((1, 2, 53, 90))
    ]
    assert matched([first, second], poses) == 2
    assert matched([first, second], poses[:2]) == 1
    assert matched([first, second], poses[3:]) == 0


WRONG = {
    "missing": (None, "no such file"),
    "text": ("hello", "not COCO person keypoints"),
    "other": ('{"images": 3}', "not COCO person keypoints"),
    "nobody": ('{"images": [], "annotations": []}', "nothing to score"),
    "short": (
        (
            '{"images": [{"id": 1, "file_name": "a"}], "annotations": '
            '[{"image_id": 1, "bbox": [0, 0, 1, 1], "keypoints": [1, 2, 3]}]}'
        ),
        "expected 51",
    ),
    "unknown image": (
        '{"images": [], "annotations": [{"image_id": 7, "bbox": [0, 0, 1, 1], "keypoints": [1]}]}',
        "image 7, which the file does not list",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_annotations_are_named(tmp_path, name):
    text, complaint = WRONG[name]
    path = tmp_path / "people.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=complaint):
        load_people(path, tmp_path)


def test_missing_pictures_are_named(annotated, tmp_path):
    with pytest.raises(UsageError, match=r"walker\.png: the annotated picture is not there"):
        load_people(annotated / "people.json", tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        load_people(annotated / "people.json", tmp_path / "none")


def test_a_box_outside_of_its_picture_is_told_before_anything_is_evaluated(annotated, tmp_path, monkeypatch):
    image = cv2.imread(str(annotated / "walker.png"))
    cv2.imwrite(str(tmp_path / "walker.png"), cv2.resize(image, (442, 248)))
    monkeypatch.setattr("edge.evaluate.estimators", lambda _: pytest.fail("a model was loaded"))
    told = r"walker\.png: the box .* 210 x 410 px at \(910, 520\), lies outside of the picture, which has 442 x 248 px"
    with pytest.raises(UsageError, match=told):
        evaluate(annotated / "people.json", tmp_path, [settings()], None)


@pytest.mark.parametrize("box", [(-5, 0, 10, 10), (35, 25, 90, 90), (0, 0, 40, 30), (3, 3, 0, 0)])
def test_a_box_may_reach_over_the_edge_of_its_picture(tmp_path, box):
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((30, 40, 3), np.uint8))
    inside = AnnotatedPerson(tmp_path / "x.png", box, np.zeros((17, 2)), np.ones(17, bool), 1.0)
    ((_, part, _),) = cut_out([inside], settings())
    assert part.image.size


@pytest.mark.parametrize("box", [(-60, 0, 50, 10), (0, 30, 9, 9), (40, 0, 9, 9), (0, -60, 9, 50), (30, 0, -25, 1)])
def test_a_box_outside_on_any_side_is_told(tmp_path, box):
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((30, 40, 3), np.uint8))
    outside = AnnotatedPerson(tmp_path / "x.png", box, np.zeros((17, 2)), np.ones(17, bool), 1.0)
    with pytest.raises(UsageError, match="40 x 30 px"):
        list(cut_out([outside], settings()))


@pytest.mark.skipif(not COCO_MINI.is_dir(), reason="the annotated development set is not beside the project")
def test_the_development_set_is_scored():
    result = evaluate(COCO_MINI / "person_keypoints.json", COCO_MINI / "images", [settings()], None).results[0]
    assert result.people == 41
    assert result.found > 0.5
    assert 0 < result.pck["0.1"] < result.pck["0.2"] < 1
