"""Video files, frame by frame, with their time stamps; frames that cannot be decoded are left out."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera_opencv import video_capture
from edge.errors import UnreadableMediaError
from edge.streams import is_utf8

# Time stamps beyond this are none.
LONGEST_VIDEO_S: Final = 1e8
# OpenCV fails once for each packet that does not decode, and for ever at the end: so many in a row are the end.
MOST_FAILURES: Final = 300


class VideoReader:
    """A video file, frame by frame, with its time stamps.

    Attributes:
        fps: the container's nominal rate; `assumed_fps` where it names none.
        frames: how many frames the container promises; 0 where it does not say.
        next_s: when the next frame is due, in seconds of the file.
        undecodable: frames that could not be decoded, before one that could.

    Raises:
        UnreadableMediaError: from the constructor: no video that can be decoded.
    """

    def __init__(self, path: Path, assumed_fps: float) -> None:
        self._path = path
        # Each further thread holds pictures of its own: a Pi's four would take 30 MB more for a film in HD.
        with _nameable(path) as name:
            self._capture = video_capture(name, cv2.CAP_FFMPEG, {cv2.CAP_PROP_N_THREADS: 1})
        if not self._capture.isOpened():
            self._capture.release()
            raise UnreadableMediaError(
                f"{path}: not a video or image that can be decoded. Expected a video file such as MP4, MKV, AVI or "
                "MOV, or a JPEG, PNG, WebP, BMP or TIFF image."
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else assumed_fps
        self.frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.next_s = 0.0
        self.undecodable = 0
        self._next = 0
        self._time_s = 0.0

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """The next picture, BGR, shape (H, W, 3), and its time in the file in seconds; None at the end."""
        image = self._decoded()
        if image is None:
            return None
        stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        # A container without time stamps reports 0 or FFmpeg's AV_NOPTS_VALUE, about -4e17 s, for every frame: then
        # frames are 1 / fps apart.
        if self._next == 0 and not abs(stamp_s) < LONGEST_VIDEO_S:
            stamp_s = 0.0
        elif self._next > 0 and not self._time_s < stamp_s < LONGEST_VIDEO_S:
            stamp_s = self._time_s + 1 / self.fps
        self._next += 1
        self._time_s, self.next_s = stamp_s, stamp_s + 1 / self.fps
        return image, stamp_s

    def _decoded(self) -> NDArray[np.uint8] | None:
        for failures in range(MOST_FAILURES):
            arrived, image = self._capture.read()
            if arrived:
                self.undecodable += failures
                return np.asarray(image, dtype=np.uint8)
        return None

    def describe(self) -> str:
        """Size, rate and length in words."""
        size = f"{self._capture.get(cv2.CAP_PROP_FRAME_WIDTH):.0f}x{self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT):.0f}"
        return f"{size} at {self.fps:g} fps" + (f", {self.frames} frames" if self.frames else "")

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


@contextlib.contextmanager
def _nameable(path: Path) -> Iterator[str]:
    """A file's name as OpenCV takes it: one that is no UTF-8 ends the process, so such a file goes by its number."""
    name = str(path.absolute())
    if is_utf8(name):
        yield name
        return
    with path.open("rb") as file:
        yield f"/proc/self/fd/{file.fileno()}"
