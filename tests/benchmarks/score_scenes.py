"""Pictures of people, of animals, and of neither, that the score is fitted on and tried on. Development only.

All come with packages, which are fetched by version and SHA-256. `held_out` ones fit nothing. People were annotated by
eye (`people_in_pictures.json`); walkers are told by what moves against a still background.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from models.build import clips
from tests.benchmarks import animal_pictures, people
from tests.benchmarks.score_pictures import EMPTY, HELD_OUT_CLIPS, HELD_OUT_EMPTY, PACKAGES, VTEST

Image = NDArray[np.uint8]
Point = tuple[float, float]
STEP_WALKERS, STEP_TREADMILL = 24, 33
# Pictures of each cut-out animal.
ANIMAL_PICTURES = 4
MAX_SIDE_PX, MAX_PART_PX = 1280, 640


class AnnotatedTorso(msgspec.Struct):
    """Somebody in a picture; percent of its width and height."""

    box: tuple[float, float, float, float]
    shoulders: Point
    hips: Point


class AnnotatedPicture(msgspec.Struct):
    """A picture of a package, and people in it."""

    package: str
    path: str
    held_out: bool
    people: list[AnnotatedTorso]


class AnnotatedPictures(msgspec.Struct):
    """The annotations' file."""

    about: str
    pictures: list[AnnotatedPicture]


@dataclass(frozen=True)
class Cut:
    """A part of a picture.

    Attributes:
        picture: what it is a part of; all of one picture are fitted on, or none.
        image: BGR.
        held_out: it fits nothing.
        middle_px: of the torso of somebody in it; None where nobody is.
        torso_px: its length.
        animal: whether there is one, and nobody.
    """

    picture: str
    image: Image
    held_out: bool = False
    middle_px: NDArray[np.float64] | None = None
    torso_px: float = 0.0
    animal: bool = False


def smaller(image: Image, most_px: int) -> Image:
    """The picture, its larger side no larger than this."""
    scale = most_px / max(image.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(image)
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def compressed(image: Image, quality: int) -> Image:
    """As a camera's JPEG."""
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1), np.uint8)


def parts(image: Image, chance: random.Random, count: int) -> Iterator[Image]:
    """Parts of a picture, of 0.25 to 0.85 of its sides."""
    height, width = image.shape[:2]
    for _ in range(count):
        share = chance.uniform(0.25, 0.85)
        high, wide = int(height * share), int(width * min(1.0, share * chance.uniform(0.6, 1.4)))
        top, left = chance.randrange(height - high + 1), chance.randrange(width - wide + 1)
        yield smaller(image[top : top + high, left : left + wide], MAX_PART_PX)


def empty(*, held_out: bool) -> Iterator[Cut]:
    """Pictures without people, and parts of them, mirrored, small and compressed."""
    for package, path in HELD_OUT_EMPTY if held_out else EMPTY:
        image = smaller(cv2.imread(str(clips.extracted(package, path))), MAX_SIDE_PX)
        chance = random.Random(path)  # noqa: S311 -- no secret
        yield Cut(path, image, held_out)
        for part in parts(image, chance, 5 if held_out else 12):
            if not held_out and chance.random() < 0.5:
                part = np.ascontiguousarray(part[:, ::-1])  # noqa: PLW2901
            if not held_out and chance.random() < 0.4:
                part = compressed(smaller(part, max(part.shape[:2]) // 2), 85)  # noqa: PLW2901
            yield Cut(path, part, held_out)
    if held_out:
        for package, path, step in HELD_OUT_CLIPS:
            for frame in clips.frames(clips.extracted(package, path), step):
                yield Cut(path, smaller(frame[:, :, ::-1], 884), held_out)


def animals(*, held_out: bool) -> Iterator[Cut]:
    """Cut-out animals in front of pictures without people that the score is fitted on."""
    for number, (name, cutout) in enumerate(animal_pictures.cutouts(held_out=held_out)):
        for picture in range(ANIMAL_PICTURES):
            seed = 2 * (ANIMAL_PICTURES * number + picture) + held_out
            chance = random.Random(seed)  # noqa: S311 -- no secret
            behind = people.still(*EMPTY[chance.randrange(len(EMPTY))])
            image = compressed(animal_pictures.somewhere(behind, cutout, seed), 85)
            yield Cut(name, image, held_out, animal=True)


def photographed_animals() -> Iterator[Cut]:
    """Animals in photographs, which fit nothing."""
    for name, image in animal_pictures.photographs():
        yield Cut(name, smaller(image, MAX_SIDE_PX), held_out=True, animal=True)


@dataclass(frozen=True)
class Somebody:
    """Box (x1, y1, x2, y2), shoulders and hips of a person, px."""

    box: NDArray[np.float64]
    shoulders: NDArray[np.float64]
    hips: NDArray[np.float64]

    @property
    def torso_px(self) -> float:
        """From shoulders to hips."""
        return float(np.linalg.norm(self.hips - self.shoulders))


def views(name: str, image: Image, person: Somebody, chance: random.Random, *, held_out: bool) -> Iterator[Cut]:
    """A person near and far, with more and with less of the picture round them."""
    torso, (left, top, right, bottom) = person.torso_px, person.box
    margin = 0.25 * max(right - left, bottom - top)
    near = (left - margin, top - margin, right + margin, bottom + margin)

    def view(box: tuple[float, ...], size_px: float, quality: int = 0, *, mirror: bool = False) -> Cut:
        """This part of the picture, so that the torso is of no more than a size."""
        low = np.maximum(np.array(box[:2], int), 0)
        part = image[low[1] : int(box[3]), low[0] : int(box[2])]
        scale = min(1.0, size_px / torso, MAX_PART_PX / max(part.shape[:2]))
        part = smaller(part, round(max(part.shape[:2]) * scale))
        middle = ((person.shoulders + person.hips) / 2 - low) * scale
        if mirror:
            part, middle = np.ascontiguousarray(part[:, ::-1]), np.array([part.shape[1] - 1 - middle[0], middle[1]])
        return Cut(name, compressed(part, quality) if quality else part, held_out, middle, torso * scale)

    more = [4 * margin * chance.uniform(0.1, 1.2) for _ in range(4)]
    yield view(near, np.inf)
    yield view(near, chance.uniform(35, 60), 80, mirror=True)
    yield view(near, chance.uniform(18, 32), 80)
    wide = (left - more[0], top - more[1], right + more[2], bottom + more[3])
    yield view(wide, chance.uniform(25, 70), 85, mirror=chance.random() < 0.5)
    half = (*near[:3], person.hips[1] + chance.uniform(0.0, 0.3) * torso)
    yield view(half, chance.uniform(30, 100), mirror=chance.random() < 0.5)
    edge = person.shoulders[0] - chance.uniform(0.0, 0.4) * torso
    yield view((edge, *near[1:]), chance.uniform(30, 100), mirror=chance.random() < 0.5)


def annotated(*, held_out: bool) -> Iterator[Cut]:
    """Views of everybody in the annotated pictures."""
    file = Path(__file__).with_name("people_in_pictures.json")
    for picture in msgspec.json.decode(file.read_bytes(), type=AnnotatedPictures).pictures:
        if picture.held_out != held_out:
            continue
        path = clips.extracted(PACKAGES[picture.package], picture.path)
        image = smaller(cv2.imread(str(path)), 1600)
        size = np.array(image.shape[1::-1]) / 100
        chance = random.Random(picture.path)  # noqa: S311 -- no secret
        for one in picture.people:
            box = np.array(one.box) * np.tile(size, 2)
            person = Somebody(box, np.array(one.shoulders) * size, np.array(one.hips) * size)
            yield from views(picture.path, image, person, chance, held_out=held_out)


def walkers() -> Iterator[Cut]:
    """Who moves in opencv-doc's film of a path, and the path by itself."""
    images = [frame[:, :, ::-1] for frame in clips.frames(clips.extracted(*VTEST), STEP_WALKERS)]
    still, chance = np.median(images, axis=0).astype(np.uint8), random.Random(5)  # noqa: S311 -- no secret
    for part in (still, *parts(still, chance, 16)):
        yield Cut("still", np.ascontiguousarray(part))
    for image in images:
        moving = (cv2.absdiff(image, still).max(2) > 35).astype(np.uint8)
        shapes = cv2.connectedComponentsWithStats(cv2.morphologyEx(moving, cv2.MORPH_CLOSE, np.ones((9, 5))))[2]
        for left, top, width, height, area in shapes[1:].tolist():
            upright = height >= 45 and 1.8 < height / width < 3.8 and area > 0.3 * width * height
            if not upright or chance.random() < 0.4:
                continue
            low_x, low_y = max(0, left - height // 4), max(0, top - height // 4)
            part = image[low_y : top + height + height // 4, low_x : left + width + height // 4]
            middle = np.array([left + width / 2 - low_x, top + 0.34 * height - low_y])
            yield Cut(VTEST[1], np.ascontiguousarray(part), False, middle, 0.3 * height)
