"""Pictures of people that come with packages: what calibrates, selects and tests the quantized models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import UnreadableMediaError
from models.build import upstream

Frame = NDArray[np.uint8]

SPORTS2D = upstream.pypi(
    "sports2d",
    "0.8.34",
    "sports2d-0.8.34-py3-none-any.whl",
    "733b6db70742636ae9c35d870c22bd416582f579abd5881bee93a14bb0e2655d",
)
DEMO_CLIP = (SPORTS2D, "Sports2D/Demo/demo.mp4")


def extracted(package: upstream.Package, path: str) -> Path:
    """One file of a package, unpacked into the cache."""
    target = upstream.cache_dir() / "clips" / f"{package.name}-{package.version}" / Path(path).name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(upstream.member(package, path))
    return target


def frames(path: Path, step: int = 1) -> Iterator[Frame]:
    """Every `step`th frame of a video, RGB uint8 [height, width, 3]."""
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise UnreadableMediaError(f"{path} does not open as a video: delete it and run the build again.")
    index = 0
    while True:
        found, frame = capture.read()
        if not found:
            break
        if index % step == 0:
            rgb: Any = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            yield rgb
        index += 1
    capture.release()
