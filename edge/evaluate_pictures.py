"""How many of the annotated people are found in whole pictures, as `predict` looks at them."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.camera import open_source
from edge.coco import HIPS, SHOULDERS, AnnotatedPerson
from edge.config import Settings
from edge.estimator import PoseEstimator
from edge.pose import COCO_KEYPOINTS, Pose

# Everybody who can be followed is looked for.
MOST_PEOPLE: Final = 5
# A pose is of the annotated person if the middle of its torso is so near to theirs, in torsos.
SAME_TORSO: Final = 0.5


class PeopleInPictures(msgspec.Struct, frozen=True, kw_only=True):
    """Whole pictures.

    Attributes:
        model: landmark model and precision.
        pictures: how many.
        people: annotated people in them who were scored.
        within_reach: of these, at most `MOST_PEOPLE` of each picture: more are never found.
        found: share of the people who were found.
        poses: people published in all pictures.
        unmatched: of these, how many are nobody who was scored: somebody whose torso is not labelled, or nobody at all.
    """

    model: str
    pictures: int
    people: int
    within_reach: int
    found: float
    poses: int
    unmatched: int

    def __str__(self) -> str:
        return (
            f"{self.model}, whole pictures: {self.found:.3f} of {self.people} people found ({self.within_reach} within "
            f"reach of {MOST_PEOPLE} a picture), {self.unmatched} of {self.poses} poses of nobody who was scored"
        )


def people_in_pictures(people: Sequence[AnnotatedPerson], settings: Settings) -> PeopleInPictures:
    """Look at each picture once.

    Args:
        people: ordered by picture.
        settings: of the model.

    Raises:
        EdgePoseError: a picture or a model that cannot be read.
    """
    rules = msgspec.structs.replace(settings.tracker, max_people=MOST_PEOPLE)
    estimator = PoseEstimator(msgspec.structs.replace(settings, tracker=rules))
    entry = estimator.landmark_model.entry
    pictures = within_reach = found = total = 0
    for path, group in groupby(people, lambda person: person.image):
        annotated = list(group)
        picture = msgspec.structs.replace(settings.camera, source=str(path), rotate=0, mirror=False)
        with open_source(picture) as source:
            poses = estimator.process(next(source), alone=True).poses
        pictures += 1
        within_reach += min(len(annotated), MOST_PEOPLE)
        found += matched(annotated, poses)
        total += len(poses)
    return PeopleInPictures(
        model=f"{entry.variant} {entry.precision}",
        pictures=pictures,
        people=len(people),
        within_reach=within_reach,
        found=round(found / len(people), 4),
        poses=total,
        unmatched=total - found,
    )


def matched(annotated: Sequence[AnnotatedPerson], poses: Sequence[Pose]) -> int:
    """How many of the annotated people have a pose of their own, the nearest ones first."""
    middles = [_middle(pose.keypoints_px[[*COCO_KEYPOINTS], :2]) for pose in poses]
    pairs = sorted(
        (float(np.hypot(*(middle - _middle(person.joints_px)))) / person.torso_px, who, which)
        for who, person in enumerate(annotated)
        for which, middle in enumerate(middles)
    )
    people, taken = set[int](), set[int]()
    for apart, who, which in pairs:
        if apart <= SAME_TORSO and who not in people and which not in taken:
            people.add(who)
            taken.add(which)
    return len(people)


def _middle(joints_px: NDArray[Any]) -> NDArray[Any]:
    middle: NDArray[Any] = joints_px[[*SHOULDERS, *HIPS]].mean(axis=0)
    return middle
