"""Annotated people: files in COCO's person-keypoints format (cocodataset.org, "data format")."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import UsageError

# COCO's 17 keypoints by group; indices in COCO's order.
JOINT_GROUPS: dict[str, tuple[int, ...]] = {
    "head": (0, 1, 2, 3, 4),
    "shoulders": (5, 6),
    "elbows": (7, 8),
    "wrists": (9, 10),
    "hips": (11, 12),
    "knees": (13, 14),
    "ankles": (15, 16),
}
SHOULDERS, HIPS = JOINT_GROUPS["shoulders"], JOINT_GROUPS["hips"]
# A torso of fewer pixels is smaller than an annotator's hand is steady.
MIN_TORSO_PX = 4.0


class _Image(msgspec.Struct):
    id: int
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: int
    bbox: tuple[float, float, float, float]
    keypoints: list[float] = []
    iscrowd: int = 0


class _Document(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]


@dataclass(frozen=True, slots=True)
class AnnotatedPerson:
    """One person as an annotator saw them.

    Attributes:
        image: the picture's file.
        box_px: x, y, width, height, px of the picture.
        joints_px: COCO's 17, shape (17, 2), px of the picture.
        labelled: shape (17,), which of them the annotator marked.
        torso_px: distance between the shoulders' and the hips' midpoints.
    """

    image: Path
    box_px: tuple[float, float, float, float]
    joints_px: NDArray[np.float64]
    labelled: NDArray[np.bool_]
    torso_px: float


def load_people(annotations: Path, images: Path) -> tuple[list[AnnotatedPerson], int]:
    """The annotated people that can be scored, ordered by picture, and how many others there are.

    A person can be scored if both shoulders and both hips are labelled, since their distance is the unit.

    Raises:
        UsageError: a file that is missing or not of COCO's format, or nobody who can be scored.
    """
    document = _read(annotations)
    if not images.is_dir():
        raise UsageError(f"{images}: there is no such folder; expected the folder with the annotated pictures")
    files = {image.id: images / image.file_name for image in document.images}
    people, others = [], 0
    for annotation in document.annotations:
        person = _person(annotation, files.get(annotation.image_id), annotations)
        if person is None:
            others += 1
        else:
            people.append(person)
    if not people:
        raise UsageError(f"{annotations}: nobody in it has both shoulders and both hips labelled; nothing to score")
    missing = [person.image for person in people if not person.image.is_file()]
    if missing:
        raise UsageError(f"{missing[0]}: the annotated picture is not there, and {len(set(missing)) - 1} others")
    return sorted(people, key=lambda person: str(person.image)), others


def _read(annotations: Path) -> _Document:
    try:
        return msgspec.json.decode(annotations.read_bytes(), type=_Document)
    except FileNotFoundError:
        raise UsageError(f"{annotations}: there is no such file; expected COCO person keypoints in JSON") from None
    except OSError as error:
        raise UsageError(f"{annotations}: the annotations cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{annotations}: not COCO person keypoints: {error}") from None


def _person(annotation: _Annotation, image: Path | None, source: Path) -> AnnotatedPerson | None:
    if annotation.iscrowd or not annotation.keypoints:
        return None
    if image is None:
        raise UsageError(f"{source}: an annotation is of image {annotation.image_id}, which the file does not list")
    if len(annotation.keypoints) != 17 * 3:
        raise UsageError(
            f"{source}: an annotation of image {annotation.image_id} has {len(annotation.keypoints)} keypoint values; "
            "expected 51: x, y, visibility of COCO's 17"
        )
    values = np.array(annotation.keypoints, dtype=np.float64).reshape(17, 3)
    labelled = values[:, 2] > 0
    if not labelled[[*SHOULDERS, *HIPS]].all():
        return None
    joints = values[:, :2]
    torso = float(np.linalg.norm(joints[[*SHOULDERS]].mean(axis=0) - joints[[*HIPS]].mean(axis=0)))
    if torso < MIN_TORSO_PX:
        return None
    return AnnotatedPerson(image, annotation.bbox, joints, labelled, torso)
