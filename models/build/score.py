"""How far an int8 model is from its own float model on the same pictures."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge import detector as edge_detector
from edge import roi as edge_roi
from edge.pose import NUM_KEYPOINTS
from edge.quality import torso_px
from models.build.runner import Person, Pose, Runner, decode_people, decode_pose

Pictures = NDArray[np.uint8]
PRESENT = 0.5  # the gate on a pose's presence


@dataclass
class LandmarkScore:
    """Distances are over the 33 landmarks of crops in which the float model sees a person, in units of its torso."""

    crops: int
    median: float
    mean: float
    p90: float
    unrefined_mean: float  # both without the heatmap
    world_mm: float
    flips: float  # share of all crops on whose presence the two disagree
    visibility: float  # mean difference of a probability


@dataclass
class DetectorScore:
    """Against the float detector's people at a score of 0.5."""

    people: int
    missed: float  # share of them
    added: float  # share of them
    iou: float  # mean
    rotation_deg: float  # mean
    side: float  # mean relative difference of the ROI's side


def run_poses(data: bytes, crops: Pictures, threads: int = 1) -> list[Pose]:
    """A landmark model on crops [n, 256, 256, 3]."""
    runner = Runner(data, threads)
    return [decode_pose(runner(crop)) for crop in tqdm(crops, desc="landmarks", unit="crop", leave=False)]


def run_people(data: bytes, frames: Pictures, threads: int = 1) -> list[list[Person]]:
    """A detector on letterboxed frames [n, 224, 224, 3]."""
    runner = Runner(data, threads)
    return [decode_people(runner(frame)) for frame in tqdm(frames, desc="detector", unit="frame", leave=False)]


def compare_poses(reference: list[Pose], ours: list[Pose]) -> LandmarkScore:
    """Score `ours` against the float model's poses of the same crops."""
    present = [k for k, pose in enumerate(reference) if pose.presence > PRESENT]

    def mean_over(value: Callable[[Pose, Pose], float]) -> float:
        return float(np.mean([value(reference[k], ours[k]) for k in present]))

    def distances(a: NDArray[np.float32], b: NDArray[np.float32], unit: float) -> NDArray[np.float32]:
        result: NDArray[np.float32] = np.linalg.norm((a - b)[:NUM_KEYPOINTS], axis=1) / unit
        return result

    refined = np.stack([distances(reference[k].points, ours[k].points, torso_px(reference[k].points)) for k in present])
    flips = np.mean([(a.presence > PRESENT) != (b.presence > PRESENT) for a, b in zip(reference, ours, strict=True)])
    return LandmarkScore(
        crops=len(present),
        median=float(np.median(refined)),
        mean=float(refined.mean()),
        p90=float(np.percentile(refined, 90)),
        unrefined_mean=mean_over(lambda a, b: distances(a.unrefined, b.unrefined, torso_px(a.points)).mean()),
        world_mm=mean_over(lambda a, b: 1000 * distances(a.world, b.world, 1.0).mean()),
        flips=float(flips),
        visibility=mean_over(lambda a, b: float(np.abs(a.visibility - b.visibility).mean())),
    )


def compare_people(reference: list[list[Person]], ours: list[list[Person]]) -> DetectorScore:
    """Score `ours` against the float detector's people in the same frames; a match overlaps by an IoU of 0.3."""
    total = missed = added = 0
    ious, rotations, sides = [], [], []
    for theirs, found in zip(reference, ours, strict=True):
        matched: set[int] = set()
        for person in theirs:
            total += 1
            overlaps = edge_detector.iou(person.box, np.array([p.box for p in found]).reshape(-1, 4))
            if not found or overlaps.max() < 0.3:
                missed += 1
                continue
            best = int(overlaps.argmax())
            matched.add(best)
            ious.append(float(overlaps[best]))
            turn = edge_roi.wrap_angle(found[best].rotation_rad - person.rotation_rad)
            rotations.append(abs(np.degrees(turn)))
            sides.append(abs(found[best].side_px / person.side_px - 1))
        added += len(found) - len(matched)
    means = [float(np.mean(values)) if values else float("nan") for values in (ious, rotations, sides)]
    return DetectorScore(total, missed / max(total, 1), added / max(total, 1), *means)


def as_table(score: LandmarkScore | DetectorScore) -> dict[str, float]:
    """The score's fields, rounded for a report."""
    return {name: round(value, 5) for name, value in asdict(score).items()}
