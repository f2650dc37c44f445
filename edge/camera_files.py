"""Recorded sources: video files, images and folders of images."""

import logging
import os
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.camera_clock import RisingClock
from edge.camera_images import IMAGE_SUFFIXES, images_in, read_image
from edge.camera_live import LiveSource, Picture
from edge.camera_opencv import VideoReader
from edge.camera_source import Source
from edge.config import CameraSettings
from edge.errors import SourceError, SourceNotFoundError, UnreadableMediaError
from edge.pose import Frame, Orientation

_log = logging.getLogger(__name__)

# Images carry no time: they are laid this far apart, so that nothing is smoothed from one to the next.
IMAGE_INTERVAL_S = 1.0


class Recording(Protocol):
    """Pictures that are all there already.

    Attributes:
        name: the path.
        details: what it holds.
        interval_s: usual time from one picture to the next.
        by_themselves: whether its pictures are no film.
        file: of a folder of images, the name of the last one read.
    """

    name: str
    details: str
    interval_s: float
    by_themselves: bool
    file: str

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """The next picture, BGR, shape (H, W, 3), and its time in seconds; None at the end.

        Raises:
            UnreadableMediaError: there is not one picture in it.
        """

    def restart(self) -> None:
        """Go back to the first picture."""

    def close(self) -> None:
        """Close the files."""


def open_path(path: Path, settings: CameraSettings) -> Source:
    """A video file, an image, or a folder of images.

    Raises:
        SourceNotFoundError: nothing there.
        UnreadableMediaError: nothing in it that can be decoded.
        SourceError: no permission to read it.
    """
    _look(path)
    recording: Recording
    if path.is_dir():
        recording = Images(str(path), images_in(path))
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        recording = Images(str(path), [path])
    else:
        recording = Video(path, settings.fps)
    recording = Looped(recording) if settings.loop else recording
    return LiveSource(Paced(recording), settings) if settings.realtime else FileSource(recording, settings)


def _look(path: Path) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, ValueError):  # a name with a zero byte is a ValueError
        raise SourceNotFoundError(
            f"{path}: there is no such file. Expected picamera2[:N], /dev/videoN or N, rtsp://, http(s)://, a video "
            "file, an image, a folder of images, or sample."
        ) from None
    except OSError as error:  # a folder above it is closed to this user, the name is too long, a link leads to itself
        raise SourceError(f"{path}: cannot be read: {error.strerror}.") from None
    is_folder = stat.S_ISDIR(status.st_mode)
    if not os.access(path, os.R_OK | (os.X_OK if is_folder else 0)):
        raise SourceError(f"{path}: no permission to read it.")
    if not is_folder and not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{path}: expected a file or a folder, and this is neither.")
    if not is_folder and status.st_size == 0:
        raise UnreadableMediaError(f"{path}: the file is empty. Copy or record it again.")


class Video:
    """A video file as a `Recording`."""

    by_themselves = False
    file = ""

    def __init__(self, path: Path, assumed_fps: float) -> None:
        self.name = str(path)
        self._path = path
        self._assumed_fps = assumed_fps
        self._count = 0
        self._reader = VideoReader(path, assumed_fps)
        self.details = self._reader.describe()
        self.interval_s = 1 / self._reader.fps

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """See `Recording`."""
        found = self._reader.read()
        if found is not None:
            self._count += 1
            return found
        if self._count == 0:
            raise UnreadableMediaError(f"{self.name}: the video holds no picture that can be decoded.")
        # Containers only estimate their number of frames; far fewer than that means a damaged or unfinished file.
        if self._count < 0.9 * self._reader.frames:
            _log.warning("%s: ends after %d of %d frames; damaged?", self.name, self._count, self._reader.frames)
        return None

    def restart(self) -> None:
        """See `Recording`."""
        self._reader.close()
        self._reader = VideoReader(self._path, self._assumed_fps)
        self._count = 0

    def close(self) -> None:
        """See `Recording`."""
        self._reader.close()


class Images:
    """Image files as a `Recording`, `IMAGE_INTERVAL_S` apart.

    Of several images an unreadable one is left out with a warning that names it, since one bad file should not end
    the run over a thousand good ones; its place in time stays empty. One image that is unreadable is an error.
    """

    interval_s = IMAGE_INTERVAL_S
    by_themselves = True

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        self.name = name
        self.details = f"{len(paths)} images" if len(paths) > 1 else "an image"
        self._paths = paths
        self.file = ""
        self._next = 0
        self._count = 0

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """See `Recording`."""
        while self._next < len(self._paths):
            index, self._next = self._next, self._next + 1
            try:
                image = read_image(self._paths[index])
            except SourceError as error:
                if len(self._paths) == 1:
                    raise
                _log.warning("left out: %s", error)
            else:
                self._count += 1
                self.file = self._paths[index].name if str(self._paths[index]) != self.name else ""
                return image, index * IMAGE_INTERVAL_S
        if self._count == 0:
            raise UnreadableMediaError(f"{self.name}: none of its {len(self._paths)} images can be decoded.")
        return None

    def restart(self) -> None:
        """See `Recording`."""
        self._next = 0

    def close(self) -> None:
        """See `Recording`."""
        self._next = len(self._paths)


class Looped:
    """A recording that starts again at its end, with time going on."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.name, self.details, self.interval_s = recording.name, recording.details, recording.interval_s
        self.by_themselves, self.file = recording.by_themselves, ""
        self._offset_s = 0.0
        self._last_s = 0.0

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """See `Recording`."""
        found = self._recording.read()
        if found is None:
            self._recording.restart()
            found = self._recording.read()
            if found is None:
                return None
            self._offset_s = self._last_s + self.interval_s - found[1]
        image, time_s = found
        self.file = self._recording.file
        self._last_s = time_s + self._offset_s
        return image, self._last_s

    def restart(self) -> None:
        """See `Recording`."""
        self._recording.restart()
        self._offset_s = self._last_s = 0.0

    def close(self) -> None:
        """See `Recording`."""
        self._recording.close()


class FileSource(Source):
    """Every picture of a recording, as fast as the caller takes them."""

    def __init__(self, recording: Recording, settings: CameraSettings) -> None:
        self.name, self.details, self.pictures = recording.name, recording.details, recording.by_themselves
        self._recording = recording
        self._orientation = Orientation(settings.rotate, settings.mirror)
        self._rising = RisingClock()
        self._using = threading.RLock()  # `close` may come from a signal handler, in the middle of a read
        self._ended = False
        self._count = 0
        try:
            self._ahead = recording.read()
        except SourceError:
            recording.close()
            raise
        self._start_s = time.time() - (self._ahead[1] if self._ahead else 0.0)

    @property
    def ended(self) -> bool:  # noqa: D102 -- as in Source
        return self._ended

    def read(self, timeout_s: float | None = None) -> Frame | None:  # noqa: ARG002, D102 -- as in Source
        with self._using:
            if self._ended:
                return None
            found, self._ahead = self._ahead or self._recording.read(), None
            if found is None:
                self.close()
                return None
            image, stamp_s = found
            self.file = self._recording.file
            time_s = self._rising(stamp_s)
            frame = Frame(
                image=image,
                time_s=time_s,
                epoch_s=self._start_s + time_s,
                available_s=time.monotonic(),
                number=self._count,
                orientation=self._orientation,
            )
            self._count += 1
            return frame

    def close(self) -> None:  # noqa: D102 -- as in Source
        with self._using:
            self._ended = True
            self._ahead = None
            self._recording.close()


class Paced:
    """A recording as a `Grabber`: each picture becomes the newest at its own time, as from a camera."""

    recording = True

    def __init__(self, recording: Recording) -> None:
        self.name = recording.name
        self._recording = recording
        self._start_s: float | None = None

    def open(self) -> str:
        """See `edge.camera_live.Grabber`."""
        return f"{self._recording.details}, at its own pace"

    def grab(self) -> Picture | None:
        """See `edge.camera_live.Grabber`."""
        found = self._recording.read()
        if found is None:
            return None
        image, time_s = found
        now_s = time.monotonic()
        if self._start_s is None:
            self._start_s = now_s - time_s
        return Picture(image, captured_s=max(now_s, self._start_s + time_s), time_s=time_s)

    def close(self) -> None:
        """See `edge.camera_live.Grabber`."""
        self._recording.close()
