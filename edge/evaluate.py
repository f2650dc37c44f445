"""The command `evaluate`: how well the models find annotated people and their joints.

PCK@t is the share of labelled joints that lie within t torsos of the annotation (Yang and Ramanan 2013; the torso is
the distance between the midpoints of shoulders and hips, as in the BlazePose paper). A person who is not found has no
joint right. Each person is cut out of the picture with a margin, since the detector is made for one person a picture.
Somebody is known to be there, so whatever is likelier than `KNOWN_TO_BE_THERE` counts as found; the share whom
`predict` would publish, at `tracker.min_score`, is a column of its own. Whole pictures: `people_in_pictures`.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.camera import open_source
from edge.coco import JOINT_GROUPS, AnnotatedPerson, load_people
from edge.config import Settings
from edge.errors import UsageError
from edge.estimator import PoseEstimator
from edge.evaluate_pictures import PeopleInPictures, people_in_pictures
from edge.output import check_file, write_file
from edge.pose import COCO_KEYPOINTS, Frame
from edge.streams import as_utf8

SCHEMA: Final = 1
THRESHOLDS: Final = (0.1, 0.2)
# The cut-out reaches this share of the box's larger side beyond the box, as far as the picture goes.
MARGIN: Final = 0.25
BOOTSTRAP_ROUNDS: Final = 10_000
# So many of them are drawn together: all, of thousands of people, take gigabytes. It changes no figure.
ROUNDS_AT_ONCE: Final = 20
# In a cut-out that holds a person, the likeliest thing is that person, unless next to nothing is seen.
KNOWN_TO_BE_THERE: Final = 0.02


class Accuracy(msgspec.Struct, frozen=True):
    """How one model did.

    Attributes:
        model: landmark model and precision, as in `lite int8`.
        people: annotated people who were scored.
        found: share of them of whom anything was seen in their cut-out.
        published: share of them whom `predict` would have published from it.
        pck: PCK by threshold, over all labelled joints.
        groups: the same for each group of joints.
    """

    model: str
    people: int
    found: float
    published: float
    pck: dict[str, float]
    groups: dict[str, dict[str, float]]


class Difference(msgspec.Struct, frozen=True):
    """PCK of the first model minus the second one's, on the same people, with a 95 % interval over people."""

    threshold: float
    mean: float
    low: float
    high: float


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What `evaluate --json` writes."""

    schema: int = SCHEMA
    annotations: str
    not_scored: int
    results: list[Accuracy]
    pictures: list[PeopleInPictures] = []
    differences: list[Difference] = []


class Score(msgspec.Struct, frozen=True):
    """One model on every person.

    Attributes:
        model: its name.
        distances: of each joint in torsos, NaN where nothing was found; shape (people, 17).
        published: who would have been published, shape (people,).
    """

    model: str
    distances: NDArray[np.float64]
    published: NDArray[np.bool_]


def evaluate(annotations: Path, images: Path, settings: Sequence[Settings], json_file: Path | None) -> Evaluation:
    """Score one model, or two on the same people, print the table and write the result.

    Args:
        annotations: COCO person keypoints.
        images: the folder with the pictures.
        settings: of the one or two models.
        json_file: where to write; None is nowhere.

    Raises:
        UsageError: annotations or pictures that cannot be used or do not belong together, an output that cannot be
            written; found before anything is evaluated.
        EdgePoseError: a picture or a model that cannot be read.
    """
    if json_file:
        check_file(json_file, "--json")
    people, others = load_people(annotations, images)
    _look_through(people, settings[0])
    scores = [score(people, chosen) for chosen in settings]
    evaluation = Evaluation(
        annotations=as_utf8(annotations.name),
        not_scored=others,
        results=[summarise(scored, people) for scored in scores],
        pictures=[people_in_pictures(people, chosen) for chosen in settings],
    )
    print(table(evaluation))  # what took hours is told before anything else is made of it
    if len(scores) == 2:
        evaluation = msgspec.structs.replace(evaluation, differences=compare(scores[0], scores[1], people))
        print(comparison(evaluation))
    if json_file:
        write_file(json_file, msgspec.json.format(msgspec.json.encode(evaluation), indent=1) + b"\n")
    return evaluation


def _look_through(people: Sequence[AnnotatedPerson], settings: Settings) -> None:
    """Find what cannot be cut out before hours of work: to read a picture is little beside looking for people in it."""
    try:
        for number, _ in enumerate(cut_out(people, settings), start=1):
            _progress(f"looking through the pictures: {number} of {len(people)} people")
    finally:
        _progress("")


def score(people: Sequence[AnnotatedPerson], settings: Settings) -> Score:
    """Run one model over all people.

    Raises:
        EdgePoseError: a picture or a model that cannot be read.
    """
    estimator, as_predict = estimators(settings)
    entry = estimator.landmark_model.entry
    name = f"{entry.variant} {entry.precision}"
    rows, published = [], []
    for number, (person, frame, offset_px) in enumerate(cut_out(people, settings), start=1):
        poses = estimator.process(frame, alone=True).poses
        joints_px = poses[0].keypoints_px[[*COCO_KEYPOINTS], :2] + offset_px if poses else np.full((17, 2), np.nan)
        rows.append(distances(person, joints_px))
        published.append(bool(as_predict.process(frame, alone=True).poses))
        _progress(f"{name}: {number} of {len(people)} people")
    _progress("")
    return Score(name, np.array(rows), np.array(published))


def estimators(settings: Settings) -> tuple[PoseEstimator, PoseEstimator]:
    """Of one person a picture: one that is told that somebody is there, and one as `predict` has it.

    Raises:
        EdgePoseError: a model that cannot be read.
    """
    known = min(KNOWN_TO_BE_THERE, settings.tracker.min_score)
    alone = msgspec.structs.replace(settings.tracker, max_people=1)
    as_predict = PoseEstimator(msgspec.structs.replace(settings, tracker=alone))
    if alone.acquisition != "single":
        alone = msgspec.structs.replace(alone, min_score=known, min_presence=0.0)
    return PoseEstimator(msgspec.structs.replace(settings, tracker=alone)), as_predict


def cut_out(
    people: Sequence[AnnotatedPerson], settings: Settings
) -> Iterator[tuple[AnnotatedPerson, Frame, NDArray[np.float32]]]:
    """Each person with their part of the picture and where it begins, px.

    Raises:
        UsageError: a person's box lies outside of the picture.
        EdgePoseError: a picture that cannot be read.
    """
    whole: Frame | None = None
    path = None
    for person in people:
        if whole is None or person.image != path:
            path = person.image
            picture = msgspec.structs.replace(settings.camera, source=str(path), rotate=0, mirror=False)
            with open_source(picture) as source:
                whole = next(source)
        _check_box(person, whole)
        x, y, width, height = person.box_px
        margin = MARGIN * max(width, height)
        left, top = (max(0, int(value - margin)) for value in (x, y))
        right, bottom = int(x + width + margin) + 1, int(y + height + margin) + 1
        part = np.ascontiguousarray(whole.image[top:bottom, left:right])
        yield person, Frame(part, 0.0, 0.0, 0.0, color=whole.color), np.array([left, top], np.float32)


def _check_box(person: AnnotatedPerson, whole: Frame) -> None:
    x, y, width, height = person.box_px
    down, across = whole.image.shape[:2]
    # One that reaches over an edge is common: annotators guess where a body goes on.
    if not (-width <= x < across and -height <= y < down and width >= 0 and height >= 0):
        raise UsageError(
            f"{person.image}: the box of an annotated person, {width:g} x {height:g} px at ({x:g}, {y:g}), lies "
            f"outside of the picture, which has {across} x {down} px; expected the very pictures that were annotated"
        )


def distances(person: AnnotatedPerson, joints_px: NDArray[Any]) -> NDArray[np.float64]:
    """Of COCO's 17 joints, shape (17, 2), px of the picture, from the annotation, in torsos."""
    apart: NDArray[np.float64] = np.linalg.norm(joints_px.astype(np.float64) - person.joints_px, axis=1)
    return apart / person.torso_px


def summarise(scored: Score, people: Sequence[AnnotatedPerson]) -> Accuracy:
    """PCK over all joints and by group."""
    labelled = np.array([person.labelled for person in people])
    found = ~np.isnan(scored.distances[:, 0])

    def pck(joints: Sequence[int]) -> dict[str, float]:
        near = scored.distances[:, joints], labelled[:, joints]
        total = int(near[1].sum())
        return {
            str(threshold): round(float(((near[0] <= threshold) & near[1]).sum() / total), 4) if total else 0.0
            for threshold in THRESHOLDS
        }

    groups = {group: pck(joints) for group, joints in JOINT_GROUPS.items()}
    shares = [round(float(marked.mean()), 4) for marked in (found, scored.published)]
    return Accuracy(scored.model, len(people), shares[0], shares[1], pck(range(17)), groups)


def compare(
    first: Score, second: Score, people: Sequence[AnnotatedPerson], at_once: int = ROUNDS_AT_ONCE
) -> list[Difference]:
    """Paired differences, their interval by resampling people (the bootstrap's percentiles, with a fixed seed)."""
    labelled = np.array([person.labelled for person in people])
    joints = labelled.sum(axis=1)
    gains = []
    for threshold in THRESHOLDS:
        right = [((scored.distances <= threshold) & labelled).sum(axis=1) for scored in (first, second)]
        gains.append(right[0] - right[1])
    *gained, total = _resampled([*gains, joints], at_once)
    differences = []
    for threshold, gain, sums in zip(THRESHOLDS, gains, gained, strict=True):
        low, high = np.percentile(sums / total, (2.5, 97.5)).round(4).tolist()
        differences.append(Difference(threshold, round(float(gain.sum() / joints.sum()), 4), low, high))
    return differences


def _resampled(counts: Sequence[NDArray[np.int64]], at_once: int) -> NDArray[np.int64]:
    """Sums of each person's counts over people drawn with replacement, shape (counts, rounds)."""
    generator = np.random.default_rng(0)
    people = len(counts[0])
    sums = np.empty((len(counts), BOOTSTRAP_ROUNDS), np.int64)
    for begin in range(0, BOOTSTRAP_ROUNDS, at_once):
        end = min(begin + at_once, BOOTSTRAP_ROUNDS)
        draws = generator.integers(0, people, (end - begin, people))
        for row, count in zip(sums, counts, strict=True):
            row[begin:end] = count[draws].sum(axis=1)
    return sums


def table(evaluation: Evaluation) -> str:
    """The result as a table for the terminal."""
    columns = ["found", "published", *(f"PCK@{threshold}" for threshold in THRESHOLDS), *JOINT_GROUPS]
    lines = [
        f"{evaluation.results[0].people} people scored, {evaluation.not_scored} others without a whole torso labelled",
        f"{'':<14} " + " ".join(f"{column:>9}" for column in columns) + "   (groups: PCK@0.2)",
    ]
    for result in evaluation.results:
        values = [
            result.found,
            result.published,
            *result.pck.values(),
            *(group["0.2"] for group in result.groups.values()),
        ]
        lines.append(f"{result.model:<14} " + " ".join(f"{value:>9.3f}" for value in values))
    lines += [""] + [str(found) for found in evaluation.pictures]
    return "\n".join(lines)


def comparison(evaluation: Evaluation) -> str:
    """What the table of two models is followed by."""
    first, second = (result.model for result in evaluation.results)
    lines = [f"\n{first} minus {second}, the same people, 95 % interval:"]
    for difference in evaluation.differences:
        span = f"{difference.low:+.3f} to {difference.high:+.3f}"
        lines.append(f"  PCK@{difference.threshold}  {difference.mean:+.3f}  ({span})")
    return "\n".join(lines)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
