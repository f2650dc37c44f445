"""Animals, cut out and in photographs, for the fit of the score and for what it is tried on. Development only.

Cut-outs are Tux Paint's stamps: every second one, in the order of their paths, is held out and fits nothing.
Photographs are GCompris's, and all of them are held out. Nobody is in any of them.
"""

import random
import re
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.build import clips, upstream
from tests.benchmarks import people

Image = NDArray[np.uint8]

STAMPS: Final = upstream.debian(
    "tuxpaint-stamps-default",
    "2022.06.04-1",
    "tuxpaint-stamps-default_2022.06.04-1_all.deb",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
)
GCOMPRIS: Final = upstream.debian(
    "gcompris-qt-data",
    "3.1-2",
    "gcompris-qt-data_3.1-2_all.deb",
    "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
)
_ANIMALS: Final = "usr/share/tuxpaint/stamps/animals"
_NO_ANIMALS: Final = {"cartoon", "toys"}
_RESOURCES: Final = "usr/share/gcompris-qt/rcc"
_ALBUMS: Final = ("erase", "explore_world_animals", "explore_farm_animals")
# What is more transparent than this is nothing of the animal.
_OPAQUE: Final = 30


def cutouts(*, held_out: bool) -> Iterator[tuple[str, Image]]:
    """Name and picture, shape (H, W, 4), BGR and opacity, of every second animal, nothing left round it."""
    folder = clips.extracted(STAMPS, _ANIMALS)
    paths = [path for path in sorted(folder.rglob("*.png")) if not _NO_ANIMALS & set(path.parts)]
    stamps = [(path, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) for path in paths]
    for path, stamp in [one for one in stamps if one[1].shape[2:] == (4,)][int(held_out) :: 2]:
        rows, columns = np.nonzero(stamp[:, :, 3] > _OPAQUE)
        cut = stamp[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        yield str(path.relative_to(folder)), np.asarray(cut, np.uint8)


def photographs() -> Iterator[tuple[str, Image]]:
    """Name and picture, BGR, of GCompris's animals. A Qt resource file holds its WebP pictures as they are."""
    for album in _ALBUMS:
        data = clips.extracted(GCOMPRIS, f"{_RESOURCES}/{album}.rcc").read_bytes()
        for number, start in enumerate(match.start() for match in re.finditer(b"RIFF....WEBP", data, re.DOTALL)):
            size = int.from_bytes(data[start + 4 : start + 8], "little") + 8
            picture = cv2.imdecode(np.frombuffer(data[start : start + size], np.uint8), cv2.IMREAD_COLOR)
            yield f"{album}/{number}", np.asarray(picture, np.uint8)


def scaled(cutout: Image, side_px: float, *, mirror: bool) -> Image:
    """The cut-out, its larger side of this length."""
    scale = side_px / max(cutout.shape[:2])
    small = cv2.resize(cutout, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[:, ::-1] if mirror else small)


def pasted(background: Image, cutout: Image, to_background: NDArray[np.float64], chance: np.random.Generator) -> Image:
    """A picture of an animal in front of a background, as a camera in a dim room would see it.

    Args:
        background: BGR.
        cutout: BGR and opacity.
        to_background: affine map from the cut-out's px to the background's, shape (2, 3).
        chance: for the noise.
    """
    height, width = background.shape[:2]
    placed = cv2.warpAffine(cutout, to_background, (width, height)).astype(np.float32)
    opacity = placed[:, :, 3:] / 255
    return people.noisy(background * (1 - opacity) + placed[:, :, :3] * opacity, chance)


def somewhere(background: Image, cutout: Image, seed: int) -> Image:
    """A picture of an animal of any size, at any place of the lower part of a background."""
    height, width = background.shape[:2]
    chance = random.Random(seed)  # noqa: S311 -- no secret
    animal = scaled(cutout, chance.uniform(0.2, 0.95) * height, mirror=chance.random() < 0.5)
    high, wide = animal.shape[:2]
    place = cv2.getRotationMatrix2D((wide / 2, high / 2), chance.gauss(0, 8), 1)
    place[:, 2] += chance.uniform(0, max(width - wide, 0)), chance.uniform(0.3, 1) * (height - high)
    return pasted(background, animal, np.asarray(place, np.float64), np.random.default_rng(seed))


def walk(background: Image, cutout: Image, seed: int, seconds: float, fps: float) -> Iterator[Image]:
    """Frames of an animal that walks through a background, or goes up and down where it stands."""
    height, width = background.shape[:2]
    chance = np.random.default_rng(seed)
    animal = scaled(cutout, chance.uniform(0.25, 0.8) * height, mirror=chance.random() < 0.5)
    high, wide = animal.shape[:2]
    left = chance.uniform(0.15, 0.7) * max(width - wide, 0)
    top = 0.97 * height - high - chance.uniform(0, 0.15) * height
    speed = chance.uniform(-0.15, 0.15) * width
    for number in range(round(seconds * fps)):
        time_s = number / fps
        x, y = left + speed * time_s, top + 3 * np.sin(2 * np.pi * 1.5 * time_s)
        yield pasted(background, animal, np.array([[1, 0, x], [0, 1, y]]), chance)
