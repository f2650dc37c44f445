"""PCK on annotated people beside MoveNet SinglePose Lightning and MediaPipe 1.2.2. Development only.

Usage, from the root of the repository, in the development environment (Python 3.11, x86-64 Linux, npm, node):

    python -m tests.benchmarks.movenet FILE.json PICTURES_DIR [--variants lite full] [--json FILE] [--draw DIR]

FILE.json: COCO person keypoints. Everybody is cut out and scored as `edge-pose evaluate` does it, over the 17 joints
that all have; whoever is not found has no joint right. There are two ways to ask, and only like is compared with like:

- told that somebody is there: MoveNet answers whatever it sees, so edge-pose does, too (as `evaluate` has it);
- as published: MediaPipe and edge-pose at their defaults, which may say that nobody is there.

`published` of MoveNet is whom it would follow (`movenet_model.Look.torso_seen`); `right` is the share of people whose
pose is theirs (the middle of the torso within half a torso). MoveNet's second look is at the part of the cut-out to
which its own cropping leads after the first. --draw writes each cut-out with what MoveNet saw in it, by both looks.
Pictures of COCO's train2017 with up to three people are ones that MoveNet was trained on: differences are also given
for them and for the others, and for those of whom both have the pose.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.coco import HIPS, JOINT_GROUPS, SHOULDERS, AnnotatedPerson, load_people
from edge.config_load import load
from edge.draw import upright_bgr
from edge.evaluate import Score, compare, cut_out, distances, estimators, summarise
from edge.evaluate_pictures import SAME_TORSO
from edge.pose import COCO_KEYPOINTS, SKELETON, Frame
from tests.benchmarks import contestants as c
from tests.benchmarks import movenet_model, pictures
from tests.benchmarks.score_scenes import Cut, Image

Joints = NDArray[np.float64]
NOBODY = np.full((17, 2), np.nan)
LOOKS = ("one look", "two looks")
# By its model card, as ml5.js quotes it, MoveNet was trained on COCO's train2017, on pictures of up to so many people.
MOST_TRAINED_ON = 3


@dataclass(frozen=True)
class Person:
    """An annotated person, their part of the picture, BGR, and where it begins, px."""

    annotated: AnnotatedPerson
    image: Image
    offset_px: NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """One contestant on every person: PCK's distances, and which poses are of the annotated person."""

    score: Score
    right: NDArray[np.bool_]


def cut_people(file: Path, folder: Path) -> list[Person]:
    """Everybody in a COCO file who can be scored."""
    people, _ = load_people(file, folder)
    return [
        Person(person, upright_bgr(frame), offset)
        for person, frame, offset in cut_out(people, load(environment={}).settings)
    ]


def result(name: str, people: Sequence[Person], joints_px: Sequence[Joints], published: Sequence[bool]) -> Result:
    """Scores of joints in px of the cut-outs, shape (17, 2) each, NaN where nobody was found."""
    placed = [found + person.offset_px for person, found in zip(people, joints_px, strict=True)]
    torso = [*SHOULDERS, *HIPS]
    apart = [
        np.hypot(*(found[torso] - person.annotated.joints_px[torso]).mean(axis=0)) / person.annotated.torso_px
        for person, found in zip(people, placed, strict=True)
    ]
    rows = [distances(person.annotated, found) for person, found in zip(people, placed, strict=True)]
    return Result(Score(name, np.array(rows), np.array(published)), np.array(apart) < SAME_TORSO)


def ours(people: Sequence[Person], variant: str) -> tuple[Result, Result]:
    """The default settings: told that somebody is there, and as published."""
    both = estimators(load(overrides={"model.model": variant}, environment={}).settings)
    found: list[list[Joints]] = []
    for estimator in both:
        poses = [estimator.process(Frame(person.image, 0.0, 0.0, 0.0), alone=True).poses for person in people]
        found.append([seen[0].keypoints_px[[*COCO_KEYPOINTS], :2] if seen else NOBODY for seen in poses])
    published = [joints is not NOBODY for joints in found[1]]
    entry = both[0].landmark_model.entry
    name = f"edge-pose {entry.variant} {entry.precision}"
    return (
        result(name, people, found[0], published),
        result(f"{name}, published", people, found[1], published),
    )


def mediapipe(people: Sequence[Person], variant: str) -> Result:
    """MediaPipe's Tasks API at its defaults."""
    seen = pictures.mediapipe([Cut(str(person.annotated.image), person.image) for person in people], variant)
    joints = [NOBODY if points is None else points[[*COCO_KEYPOINTS]].astype(np.float64) for points in seen]
    return result(f"MediaPipe {c.TASKS_VERSION} {variant}", people, joints, [points is not None for points in seen])


def movenet(people: Sequence[Person], draw: Path | None) -> list[Result]:
    """MoveNet's first look at the whole cut-out, and its second."""
    images = [person.image for person in people]
    first = movenet_model.look(images, [movenet_model.whole(image) for image in images])
    regions = [movenet_model.around(image, seen) for image, seen in zip(images, first, strict=True)]
    second = movenet_model.look(images, regions)
    if draw:
        draw.mkdir(parents=True, exist_ok=True)
        for number, person in enumerate(people):
            drawn = [drawing(person, looked[number]) for looked in (first, second)]
            cv2.imwrite(str(draw / f"{number:05d}.png"), np.hstack(drawn))
    return [
        result(f"MoveNet, {name}", people, [seen.joints_px for seen in looks], [seen.torso_seen for seen in looks])
        for name, looks in zip(LOOKS, (first, second), strict=True)
    ]


def drawing(person: Person, seen: movenet_model.Look) -> Image:
    """The cut-out with MoveNet's skeleton in green, the left wrist in red, and annotated joints as white rings."""
    scale = 480 / max(person.image.shape[:2])
    picture = cv2.resize(person.image, None, fx=scale, fy=scale)
    at = (seen.joints_px * scale).round().astype(int).tolist()
    number = {joint: index for index, joint in enumerate(COCO_KEYPOINTS)}
    for one, other in SKELETON:
        if one in number and other in number:
            cv2.line(picture, at[number[one]], at[number[other]], (0, 200, 0), 2)
    cv2.circle(picture, at[9], 5, (0, 0, 255), -1)
    marked = (person.annotated.joints_px - person.offset_px)[person.annotated.labelled] * scale
    for joint in marked.round().astype(int).tolist():
        cv2.circle(picture, joint, 5, (255, 255, 255), 2)
    return np.asarray(picture, np.uint8)


def crowded(people: Sequence[AnnotatedPerson], file: Path) -> NDArray[np.bool_]:
    """Who is in a picture with more people than MoveNet's training pictures, whether or not they can be scored."""
    document = json.loads(file.read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in document["images"]}
    count = Counter(names[annotation["image_id"]] for annotation in document["annotations"])
    return np.array([count[person.image.name] > MOST_TRAINED_ON for person in people])


def difference(
    first: Result, second: Result, people: Sequence[AnnotatedPerson], crowd: NDArray[np.bool_]
) -> dict[str, Any]:
    """First minus second, over everybody and over some of the people."""
    chosen = {
        "everybody": np.ones(len(people), bool),
        "both right": first.right & second.right,
        f"pictures of up to {MOST_TRAINED_ON} people": ~crowd,
        f"pictures of more than {MOST_TRAINED_ON}": crowd,
    }
    found = {}
    for name, mask in chosen.items():
        if mask.any():
            some = [person for person, taken in zip(people, mask, strict=True) if taken]
            one, other = (
                Score(r.score.model, r.score.distances[mask], r.score.published[mask]) for r in (first, second)
            )
            found[name] = {"people": len(some), "differences": msgspec.to_builtins(compare(one, other, some))}
    return {"of": f"{first.score.model} minus {second.score.model}", "over": found}


def figures_of(one: Result, people: Sequence[AnnotatedPerson]) -> dict[str, Any]:
    """What `evaluate` says of a model, and the share of people whose pose is theirs."""
    return {**msgspec.to_builtins(summarise(one.score, people)), "right": round(float(one.right.mean()), 4)}


def line(one: Result, people: Sequence[AnnotatedPerson]) -> str:
    """A row of the table."""
    figures = figures_of(one, people)
    values = [figures["found"], figures["published"], figures["right"], *figures["pck"].values()]
    values += [group["0.2"] for group in figures["groups"].values()]
    return f"{one.score.model:<30} " + " ".join(f"{value:>9.3f}" for value in values)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """A difference over everybody and over some, with its intervals."""
    yield found["of"]
    for name, over in found["over"].items():
        spans = [
            f"PCK@{d['threshold']} {d['mean']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f})" for d in over["differences"]
        ]
        yield f"  {name:<28} {over['people']:>4}   " + "   ".join(spans)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="PCK on annotated people, beside MoveNet and MediaPipe.")
    parser.add_argument("annotations", type=Path, metavar="FILE", help="COCO person keypoints")
    parser.add_argument("pictures", type=Path, metavar="DIR", help="the folder with the annotated pictures")
    parser.add_argument("--variants", nargs="+", default=["lite", "full"], choices=["lite", "full"])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--draw", type=Path, metavar="DIR", help="write what MoveNet saw into this folder")
    options = parser.parse_args(arguments)
    people = cut_people(options.annotations, options.pictures)
    annotated = [person.annotated for person in people]
    looks = movenet(people, options.draw)
    mediapipes = [mediapipe(people, variant) for variant in options.variants]
    told, published = zip(*(ours(people, variant) for variant in options.variants), strict=True)
    results = [*told, *looks, *published, *mediapipes]
    columns = ["found", "published", "right", "PCK@0.1", "PCK@0.2", *JOINT_GROUPS]
    print(f"{f'{len(people)} people':<31}" + " ".join(f"{column:>9}" for column in columns) + "   (groups: PCK@0.2)")
    print("\n".join(line(one, annotated) for one in results))
    crowd = crowded(annotated, options.annotations)
    pairs = [*product(told, looks), *product(published, mediapipes)]
    differences = [difference(one, other, annotated, crowd) for one, other in pairs]
    print("\nDifferences on the same people, 95 % intervals over people:")
    print("\n".join(text for found in differences for text in lines(found)))
    if options.json:
        figures = [figures_of(one, annotated) for one in results]
        document = {"people": len(people), "results": figures, "differences": differences}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
