"""Finding people, following them, and not inventing them, beside MediaPipe 1.2.2 on the same frames. Development only.

Usage, from the root of the repository, in the development environment (Python 3.11, x86-64 Linux, npm):

    python -m tests.benchmarks.people [--variants lite full] [--json FILE]

The rooms chose nothing; the other pictures without people (`score_pictures`) and the sample clip's people were watched
while the tracker was written, but no weight was fitted to them; on frames of the laboratory the score was fitted.
Frames that do not exist are made: a picture shown for seconds under a camera's noise (standard deviation 3 of 255),
from which a person comes into view or leaves by a cut.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.camera import open_source
from edge.config import Settings
from edge.config_load import load
from edge.estimator import PoseEstimator
from edge.quality import MIN_TORSO_PX, jitter, torso_px
from edge.sample import clip_path
from models.build import clips
from models.build.upstream import Package
from tests.benchmarks import contestants as c
from tests.benchmarks import lag, score_pictures
from tests.golden.make_golden import landmark_model

Image = NDArray[np.uint8]
# Rooms come first among the pictures without people that fitted nothing; the others are landscapes, plants, animals.
ROOMS, OTHERS = score_pictures.HELD_OUT_EMPTY[:4], score_pictures.HELD_OUT_EMPTY[4:]
# One man on a treadmill, four cameras: the score was fitted on some of these frames.
LABORATORY = tuple(f"Pose2Sim/Demo_SinglePerson/videos/cam0{number}.mp4" for number in (1, 2, 3, 4))
WIDTH, HEIGHT, FPS, NOISE = 884, 497, 30, 3.0
EMPTY_S, OTHERS_S = 3.0, 0.5
# The sample's frames in which one person walks through the picture in plain view.
WALK = range(110, 150)
STANDING = 99
# In all of its frames but the last two something of a torso can be seen; then a foot and an elbow behind a tree.
VISIBLE = 228
# Somebody whose id changes between two frames within so many torsos has been taken for somebody else.
SAME_TORSOS = 0.5


class Track(msgspec.Struct):
    """One clip through one contestant: for each frame its time, and id and joints (33, 2) of everybody in it."""

    times_s: list[float]
    people: list[dict[int, Any]]


def still(package: Package, path: str) -> Image:
    """A picture of a package in the size of these films."""
    picture = cv2.imread(str(clips.extracted(package, path)))
    return np.asarray(cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def room(number: int, seconds: float, seed: int = 0) -> Iterator[Image]:
    """An empty room, or another picture without people, under a camera's noise."""
    picture = still(*score_pictures.HELD_OUT_EMPTY[number])
    random = np.random.default_rng(seed)
    for _ in range(round(seconds * FPS)):
        yield noisy(picture, random)


def noisy(picture: NDArray[Any], random: np.random.Generator) -> Image:
    """A picture as a camera in a dim room would see it."""
    return (picture + random.normal(0, NOISE, picture.shape)).clip(0, 255).astype(np.uint8)


def sample(frames: range) -> Iterator[Image]:
    """Frames of the sample clip."""
    capture = cv2.VideoCapture(str(clip_path()))
    for number in range(frames.stop):
        image = capture.read()[1]
        if number in frames:
            yield cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def standing() -> Iterator[Image]:
    """One frame with people, again and again, under noise: somebody at rest."""
    (picture,) = sample(range(STANDING, STANDING + 1))
    random = np.random.default_rng(0)
    for _ in range(90):
        yield noisy(picture, random)


def write_clip(path: Path, images: Iterator[Image]) -> Path:
    """A file without loss, which everybody reads."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), FPS, (WIDTH, HEIGHT))
    for image in images:
        writer.write(image)
    writer.release()
    return path


def ours(path: Path, variant: str, max_people: int = 1, mode: str = "video") -> Track:
    """The default settings, but every frame is searched if nobody is held; `image` looks at each by itself."""
    overrides = {"model.model": variant, "tracker.max_people": max_people, "tracker.idle_fps": 0.0}
    settings: Settings = load(overrides=overrides, environment={}).settings
    estimator, track = PoseEstimator(settings), Track([], [])
    camera = msgspec.structs.replace(settings.camera, source=str(path))
    with open_source(camera) as source:
        for frame in source:
            poses = estimator.process(frame, alone=mode == "image").poses
            track.times_s.append(frame.time_s)
            track.people.append({pose.id: pose.keypoints_px[:, :2] for pose in poses})
    return track


def mediapipe(path: Path, variant: str, max_people: int = 1, mode: str = "video") -> Track:
    """MediaPipe's Tasks API at true time stamps; its order of people stands for ids, since it has none."""
    with tempfile.TemporaryDirectory() as folder:
        out, paths = Path(folder) / "out.npz", [str(path)]
        if mode == "image":
            paths = write_pictures(path, Path(folder))
        command, environment = tasks_command(mode, variant, max_people, out, paths)
        subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
        found = np.load(out)
        people: list[dict[int, Any]] = [{} for _ in found["time_s"]]
        for frame, points in zip(found["frame"], found["points"], strict=True):
            people[frame][len(people[frame])] = points
        return Track(found["time_s"].tolist(), people)


def tasks_command(
    mode: str, variant: str, max_people: int, out: Path, paths: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """What runs MediaPipe's Tasks API over pictures or a clip, see `mediapipe_people`, and its environment."""
    models = (variant, str(landmark_model(variant)), str(c.detector_model()))
    script = (str(c.tasks_python()), str(c.HERE / "mediapipe_people.py"))
    environment = dict(os.environ, PYTHONPATH=f"{c.HERE}:{c.HERE.parent.parent}", GLOG_minloglevel="3")
    return (*script, mode, *models, str(max_people), str(out), *paths), environment


def write_pictures(path: Path, folder: Path) -> list[str]:
    """Every frame of a clip as a picture."""
    capture, paths = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        paths.append(str(folder / f"{len(paths):05d}.png"))
        cv2.imwrite(paths[-1], read[1])
    return paths


def share(track: Track, frames: slice = slice(None)) -> float:
    """Share of the frames in which somebody is seen."""
    return round(float(np.mean([bool(people) for people in track.people[frames]])), 4)


def first_ms(track: Track, start: int, *, seen: bool) -> float | None:
    """From a frame to the first in which somebody is seen, or nobody; None for never."""
    for time_s, people in zip(track.times_s[start:], track.people[start:], strict=True):
        if bool(people) == seen:
            return round((time_s - track.times_s[start]) * 1e3)
    return None


def trembling(track: Track) -> float:
    """Median jitter of all frames, in torsos."""
    values = [
        jitter([frame[one] for frame in three], track.times_s[number : number + 3])
        for number, three in enumerate(zip(track.people, track.people[1:], track.people[2:], strict=False))
        for one in three[2]
        if all(one in frame for frame in three)
    ]
    return round(float(np.median(values)), 5)


def in_motion(track: Track, alone: Track) -> list[NDArray[np.float64]]:
    """How far one person's joints are behind those of each frame by itself, which nobody smoothed."""
    published, by_itself = ([next(iter(people.values()), None) for people in one.people] for one in (track, alone))
    return lag.motion(track.times_s, published, by_itself)


def switches(track: Track) -> int:
    """How often somebody has another id than the one nearest to them a frame before, in the same place."""
    count = 0
    for before, now in zip(track.people, track.people[1:], strict=False):
        for one, joints in now.items():
            apart = {other: float(np.median(np.hypot(*(joints - old).T))) for other, old in before.items()}
            nearest = min(apart, key=lambda other: apart[other], default=one)
            count += nearest != one and apart[nearest] < SAME_TORSOS * max(torso_px(joints), MIN_TORSO_PX)
    return count


def measure(follow: Any, variant: str, folder: Path) -> dict[str, Any]:
    """All figures of one contestant."""

    def seen_in(numbers: range, seconds: float) -> list[bool]:
        paths = [write_clip(folder / f"room{number}.avi", room(number, seconds)) for number in numbers]
        return [bool(people) for path in paths for people in follow(path, variant).people]

    empty = seen_in(range(len(ROOMS)), EMPTY_S)
    others = seen_in(range(len(ROOMS), len(ROOMS) + len(OTHERS)), OTHERS_S)
    films = [clips.extracted(clips.POSE2SIM, path) for path in LABORATORY]
    laboratory = [follow(path, variant) for path in films]

    def visit() -> Iterator[Image]:
        yield from room(1, 1.0)
        yield from sample(WALK)
        yield from room(1, 2.0)

    visited = follow(write_clip(folder / "visit.avi", visit()), variant)
    walk = write_clip(folder / "walk.avi", sample(WALK))
    whole = follow(clip_path(), variant)
    moving = [
        in_motion(track, follow(path, variant, mode="image"))
        for path, track in zip((walk, *films), (follow(walk, variant), *laboratory), strict=True)
    ]
    return {
        "false_presence": round(float(np.mean(empty)), 4),
        "empty_frames": len(empty),
        "false_presence_elsewhere": round(float(np.mean(others)), 4),
        "elsewhere_frames": len(others),
        "recall": share(whole, slice(VISIBLE)),
        "person_frames": VISIBLE,
        "recall_with_last_frames": share(whole),
        "recall_laboratory": round(float(np.mean([share(track) for track in laboratory])), 4),
        "laboratory_frames": sum(len(track.people) for track in laboratory),
        "time_to_find_ms": first_ms(visited, FPS, seen=True),
        "time_to_lose_ms": first_ms(visited, FPS + len(WALK), seen=False),
        "jitter_at_rest_torsos": trembling(follow(write_clip(folder / "standing.avi", standing()), variant)),
        "lag_in_motion_ms": round(lag.late_ms([frame for frames in moving for frame in frames]), 1),
        "lag_in_motion_interval_ms": [round(value, 1) for value in lag.interval_ms(moving)],
        "frames_in_motion": sum(map(len, moving)),
        "switches_two_people": switches(follow(clip_path(), variant, 2)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="People found, followed and invented, beside MediaPipe.")
    parser.add_argument("--variants", nargs="+", default=["lite", "full"], choices=["lite", "full"])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    result: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for variant in options.variants:
            for name, follow in (("edge-pose", ours), (f"MediaPipe {c.TASKS_VERSION}", mediapipe)):
                result[f"{name} {variant}"] = measure(follow, variant, Path(folder))
                print(f"{name} {variant}: {result[f'{name} {variant}']}", flush=True)
    for figure in next(iter(result.values())):
        print(f"{figure:<24}", *(f"{name}: {values[figure]}" for name, values in result.items()), sep="  ")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
