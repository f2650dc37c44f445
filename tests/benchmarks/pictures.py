"""People found and people invented in single pictures, beside MediaPipe 1.2.2 on the same ones. Development only.

Usage, from the root of the repository, in the development environment (Python 3.11, x86-64 Linux, npm, apt-get):

    python -m tests.benchmarks.pictures [--variants lite full] [--people FILE.json PICTURES_DIR] [--json FILE]

Pictures without people: `held out` ones, which fitted nothing, and those that the score was fitted on. People: held-out
ones of `score_scenes`, near, far and cut off; with --people also those of a COCO file, cut out as `evaluate` does it.
Both programs look at each picture by itself for one person. `published` is the share of pictures in which anybody is
reported; `right` the share in which the pose is the annotated person (the middle of the torso within half a torso).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.coco import HIPS, SHOULDERS, load_people
from edge.config import Settings
from edge.config_load import load
from edge.draw import upright_bgr
from edge.estimator import PoseEstimator
from edge.evaluate import cut_out
from edge.pose import TORSO, Frame
from tests.benchmarks import contestants as c
from tests.benchmarks import score_scenes
from tests.benchmarks.people import tasks_command
from tests.benchmarks.score_looks import SAME_TORSO
from tests.benchmarks.score_scenes import Cut

Joints = NDArray[np.float32]


def annotated(file: Path, folder: Path) -> Iterator[Cut]:
    """Everybody in a COCO file, cut out of the picture."""
    people, _ = load_people(file, folder)
    settings: Settings = load(environment={}).settings
    for person, frame, offset_px in cut_out(people, settings):
        middle = person.joints_px[[*SHOULDERS, *HIPS]].mean(axis=0) - offset_px
        yield Cut(str(person.image), upright_bgr(frame), True, middle, person.torso_px)


def sets(people: Sequence[Path] | None) -> dict[str, list[Cut]]:
    """The pictures, by what they are."""
    found = {
        "empty, held out": list(score_scenes.empty(held_out=True)),
        "empty, fitted on": list(score_scenes.empty(held_out=False)),
        "people, held out": list(score_scenes.annotated(held_out=True)),
    }
    if people:
        found[f"people of {people[0].parent.name}"] = list(annotated(*people))
    return found


def ours(cuts: Sequence[Cut], variant: str) -> list[Joints | None]:
    """One person's joints, shape (33, 2), in each picture, by the default settings."""
    estimator = PoseEstimator(load(overrides={"model.model": variant}, environment={}).settings)
    poses = [estimator.process(Frame(cut.image, 0.0, 0.0, 0.0), alone=True).poses for cut in cuts]
    return [found[0].keypoints_px[:, :2] if found else None for found in poses]


def mediapipe(cuts: Sequence[Cut], variant: str) -> list[Joints | None]:
    """The same of MediaPipe's Tasks API."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{number:05d}.png") for number in range(len(cuts))]
        for path, cut in zip(paths, cuts, strict=True):
            cv2.imwrite(path, cut.image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        out = Path(folder) / "out.npz"
        command, environment = tasks_command("image", variant, 1, out, paths)
        subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
        found = np.load(out)
        seen = dict(zip(found["frame"].tolist(), found["points"], strict=True))
        return [seen.get(number) for number in range(len(cuts))]


def shares(cuts: Sequence[Cut], found: Sequence[Joints | None]) -> dict[str, float]:
    """In which share of the pictures somebody is published, and is the annotated person."""
    result = {"pictures": float(len(cuts)), "published": float(np.mean([joints is not None for joints in found]))}
    if cuts[0].middle_px is not None:
        right = [
            joints is not None
            and cut.middle_px is not None
            and float(np.hypot(*(joints[TORSO].mean(axis=0) - cut.middle_px))) < SAME_TORSO * cut.torso_px
            for cut, joints in zip(cuts, found, strict=True)
        ]
        result["right"] = float(np.mean(right))
    return {name: round(value, 4) for name, value in result.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="People found and invented in pictures, beside MediaPipe.")
    parser.add_argument("--variants", nargs="+", default=["lite", "full"], choices=["lite", "full"])
    parser.add_argument("--people", nargs=2, type=Path, metavar=("FILE", "DIR"), help="COCO keypoints, and pictures")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    result: dict[str, dict[str, Any]] = {}
    for name, cuts in sets(options.people).items():
        for variant in options.variants:
            for contestant, look in (("edge-pose", ours), (f"MediaPipe {c.TASKS_VERSION}", mediapipe)):
                figures = shares(cuts, look(cuts, variant))
                result.setdefault(name, {})[f"{contestant} {variant}"] = figures
                print(f"{name:<20} {contestant} {variant}: {figures}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
