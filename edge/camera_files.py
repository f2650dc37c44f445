"""Recorded sources: video files, images and folders of images."""

import logging
import os
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.camera_clock import RisingClock
from edge.camera_images import IMAGE_SUFFIXES, images_in, read_image
from edge.camera_live import LiveSource
from edge.camera_recording import Looped, Paced, Recording
from edge.camera_source import Source
from edge.camera_video import VideoReader
from edge.config import CameraSettings
from edge.errors import SourceError, SourceNotFoundError, UnreadableMediaError
from edge.pose import Frame, Orientation

_log = logging.getLogger(__name__)

# Images carry no time: they are laid this far apart, so that nothing is smoothed from one to the next.
IMAGE_INTERVAL_S = 1.0


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
        self._warned = False
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
        if not self._warned:
            self._warned = self._warn()  # once, and not at every round of a loop
        return None

    def _warn(self) -> bool:
        reader = self._reader
        # Containers only estimate how long they are; an end far before that means an unfinished file. By time, not by
        # the number of frames: that is the length times the nominal rate in some.
        if reader.next_s < 0.9 * reader.frames / reader.fps:
            _log.warning("%s: ends after %d of %d frames; damaged?", self.name, self._count, reader.frames)
        elif reader.undecodable:
            _log.warning("%s: %d frames could not be decoded; damaged?", self.name, reader.undecodable)
        else:
            return False
        return True

    def restart(self) -> None:
        """See `Recording`."""
        self._reader.close()
        _look(self._path)  # it may have been deleted since
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
        self._left_out: set[Path] = set()

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """See `Recording`."""
        while self._next < len(self._paths):
            index, self._next = self._next, self._next + 1
            try:
                image = read_image(self._paths[index])
            except SourceError as error:
                if len(self._paths) == 1:
                    raise
                if self._paths[index] not in self._left_out:  # said once, and not at every round of a loop
                    self._left_out.add(self._paths[index])
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
        _look(Path(self.name))
        self._next = self._count = 0

    def close(self) -> None:
        """See `Recording`."""
        self._next = len(self._paths)


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
