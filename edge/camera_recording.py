"""What recorded sources have in common: pictures that are all there already, again and again, or at their own pace."""

import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.camera_live import Picture


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
        """Go back to the first picture.

        Raises:
            SourceError: it cannot be opened any more.
        """

    def close(self) -> None:
        """Close the files."""


class Looped:
    """A recording that starts again at its end, with time going on."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.name, self.details, self.interval_s = recording.name, recording.details, recording.interval_s
        self.by_themselves, self.file = recording.by_themselves, ""
        self._offset_s = 0.0
        self._last_s = 0.0
        self._at_end = False

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """See `Recording`."""
        found = None if self._at_end else self._recording.read()
        if found is None:
            self._at_end = True  # until there is a picture again: a file may still be on its way
            self._recording.restart()
            found = self._recording.read()
            if found is None:
                return None
            self._at_end = False
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


class Paced:
    """A recording as a `Grabber`: each picture becomes the newest at its own time, as from a camera."""

    recording = True

    def __init__(self, recording: Recording) -> None:
        self.name = recording.name
        self._recording = recording
        self._start_s: float | None = None

    def open(self) -> str:
        """See `edge.camera_live.Grabber`."""
        self._start_s = None  # after a loss it goes on at its pace, and does not make up for the time away
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
