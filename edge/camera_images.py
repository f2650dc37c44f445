"""Image files: which there are in a folder, and what is in them."""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import SourceError, UnreadableMediaError

_log = logging.getLogger(__name__)

# OpenCV's warp takes no larger picture.
LARGEST_PX = 32_766
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as BGR, shape (H, W, 3), uint8: grey is spread to three channels, transparency is left out.

    An EXIF orientation is applied, as every viewer does.

    Raises:
        SourceError: the file cannot be read.
        UnreadableMediaError: it is no image, or a damaged one.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
    image = None
    if data.size:
        with _library_chatter(), contextlib.suppress(cv2.error):
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise UnreadableMediaError(
            f"{path}: cannot be decoded: it is {'damaged, cut off or no image' if data.size else 'empty'}. "
            "Expected a JPEG, PNG, WebP, BMP or TIFF image."
        )
    height, width = image.shape[:2]
    if max(height, width) > LARGEST_PX:
        raise UnreadableMediaError(f"{path}: {width}x{height} px are too many; expected up to {LARGEST_PX:,} a side.")
    return np.asarray(image, dtype=np.uint8)


def images_in(folder: Path) -> list[Path]:
    """The images of a folder, not of folders below it, in the order of their names, numbers by value.

    Raises:
        UnreadableMediaError: there is none.
    """
    found = [
        path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not found:
        raise UnreadableMediaError(
            f"{folder}: no image in this folder. Expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    return sorted(
        found, key=lambda path: [(int(run), "") if run.isdecimal() else (-1, run) for run in _runs(path.name)]
    )


def _runs(name: str) -> list[str]:
    return [run for run in re.split(r"(\d+)", name) if run]


@contextlib.contextmanager
def _library_chatter() -> Iterator[None]:
    """Send what libjpeg and libpng write to stderr themselves to the log at level DEBUG."""
    with tempfile.TemporaryFile() as heard:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        heard.seek(0)
        for line in heard.read().decode(errors="replace").splitlines():
            _log.debug("while decoding an image: %s", line)
