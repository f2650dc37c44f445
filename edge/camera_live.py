"""A live source: one thread reads as fast as frames come, one slot holds the newest, and a lost camera is opened again.

One thread does all the opening, reading and closing of a camera for the whole life of the source. A read that hangs
can therefore delay the next attempt, but never leave a second thread or an open handle behind.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.camera_clock import RisingClock
from edge.camera_source import Source
from edge.config import CameraSettings
from edge.errors import CameraHungError, EdgePoseError, SourceError
from edge.pose import Frame, Orientation

_log = logging.getLogger(__name__)

# Pauses between attempts to open a lost camera: doubled each time up to the longest, and each time shortened or
# lengthened by chance, so that many devices do not knock on one server in step. The longest is short enough to be back
# within 3 s of the camera's return.
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 1.0
JITTER = 0.25
# How much longer than its own timeout a read may take before `close` gives up waiting for it.
GRACE_S = 2.0
# How much longer than its own timeout any call of a driver may take before it counts as one that never returns.
HUNG_S = 10.0


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as a grabber took it.

    Attributes:
        image: buffer px, BGR, shape (H, W, 3), uint8.
        captured_s: `time.monotonic()` of the capture; of a paced recording it may lie ahead: it is held till then.
        time_s: capture time on the source's own clock.
        release: gives the buffer back to the camera; called once, when nobody looks at the picture any more.
        missed: pictures that the camera took since the last one and that never arrived here.
    """

    image: NDArray[np.uint8]
    captured_s: float
    time_s: float
    release: Callable[[], None] | None = None
    missed: int = 0


class Grabber(Protocol):
    """One kind of camera. All methods but the constructor are called by the reading thread alone.

    Attributes:
        name: without credentials.
        recording: whether pictures are paced from a file, whose silence is no stall.
    """

    name: str
    recording: bool

    def open(self) -> str:
        """Open the camera; returns what it gives, in words.

        Raises:
            SourceError: it does not open; or another error of `edge.errors`.
        """

    def grab(self) -> Picture | None:
        """Wait for the next picture, `stall_timeout` at most; None is the end of a recording.

        Raises:
            SourceError: no picture in time, or the camera is gone.
        """

    def close(self) -> None:
        """Let the camera go; harmless when it is not open."""


class LiveSource(Source):
    """The newest frame of a grabber; see `edge.camera_source` for the contract.

    Raises:
        EdgePoseError: from the constructor: the camera did not open, or gave no first frame in time.
    """

    live = True

    def __init__(self, grabber: Grabber, settings: CameraSettings) -> None:
        self.name = grabber.name
        self._grabber = grabber
        self._orientation = Orientation(settings.rotate, settings.mirror)
        self._open_timeout_s = settings.open_timeout
        self._stall_timeout_s = settings.stall_timeout
        self._rising = RisingClock()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        # All below is guarded by _changed.
        self._newest: tuple[Frame, Picture] | None = None
        self._in_use: Picture | None = None
        self._error: Exception | None = None
        self._finished = False
        self._stalled = False
        self._count = 0
        self._attempts = 0
        self._last_frame_s = time.monotonic()
        self._returned_s = time.monotonic()  # written by the thread alone
        self._thread = threading.Thread(target=self._run, name=f"camera {self.name}", daemon=True)
        self._thread.start()
        self._wait_for_first_frame()

    @property
    def stalled(self) -> bool:  # noqa: D102 -- as in Source
        with self._changed:
            self._look_for_stall()
            return self._stalled

    @property
    def hung(self) -> bool:  # noqa: D102 -- as in Source
        longest_s = max(self._open_timeout_s, self._stall_timeout_s) + LONGEST_PAUSE_S + HUNG_S
        silent_s = time.monotonic() - self._returned_s
        return silent_s > longest_s and not self._finished and not self._grabber.recording

    @property
    def ended(self) -> bool:  # noqa: D102 -- as in Source
        with self._changed:
            return self._finished and self._newest is None

    def read(self, timeout_s: float | None = None) -> Frame | None:  # noqa: D102 -- as in Source
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            self._hand_back()
            while self._newest is None and not self._finished:
                wait_s = self._stall_timeout_s / 4
                if deadline_s is not None:
                    wait_s = min(wait_s, deadline_s - time.monotonic())
                    if wait_s <= 0:
                        return None
                self._changed.wait(wait_s)
                self._look_for_stall()
            if self._newest is None:
                if self._error is not None:
                    raise self._error
                return None
            frame, self._in_use = self._newest
            self._newest = None
            return frame

    def close(self) -> None:  # noqa: D102 -- as in Source
        self._stop.set()
        with self._changed:
            self._finished = True
            self._hand_back()
            self._drop_newest()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(max(self._open_timeout_s, self._stall_timeout_s) + GRACE_S)
            if self._thread.is_alive():
                _log.warning("%s: the camera's driver does not return; it is released when it does", self.name)

    def _wait_for_first_frame(self) -> None:
        deadline_s = time.monotonic() + self._open_timeout_s + GRACE_S
        with self._changed:
            while self._newest is None and not self._finished:
                if not self._changed.wait(deadline_s - time.monotonic()):
                    break
            error = self._error
            arrived = self._newest is not None
        if not arrived:
            self._stop.set()
            if error is not None:
                self._thread.join(GRACE_S)
            raise error or CameraHungError(
                f"{self.name}: no picture within {self._open_timeout_s:g} s of opening. "
                "Check that nothing else uses the camera, or raise camera.open_timeout.",
                self._thread,
            )

    def _run(self) -> None:
        try:
            self._open()
            while not self._stop.is_set():
                lost = ""
                try:
                    picture = self._grabber.grab()
                except SourceError as error:
                    if self._count == 0:
                        raise  # a camera that has never given a picture is not lost but wrong
                    lost = str(error)  # not the error, whose traceback would keep the camera's objects alive
                if lost:
                    self._reopen(lost)
                    continue
                self._returned_s = time.monotonic()
                if picture is None:
                    break
                self._stop.wait(max(0.0, picture.captured_s - time.monotonic()))
                self._offer(picture)
        except Exception as error:  # noqa: BLE001 -- raised again in the thread that reads
            self._error = error
        finally:
            self._grabber.close()
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _open(self) -> None:
        self.details = self._grabber.open()

    def _reopen(self, reason: str) -> None:
        """Try until the camera is open again or the source is closed."""
        if not self._attempts:  # once, and not again while attempts bring no picture
            _log.info("lost, opening again: %s", reason)
        while not self._stop.is_set():
            self._returned_s = time.monotonic()
            self._grabber.close()
            with self._changed:
                self._look_for_stall()
            self._stop.wait(self._next_pause_s())
            if self._stop.is_set():
                return
            try:
                self._open()
            except EdgePoseError as error:
                _log.debug("still not open: %s", str(error))
            else:
                return

    def _next_pause_s(self) -> float:
        """Longer with every attempt since the last frame: a server that accepts and gives nothing is not hammered."""
        pause_s = min(FIRST_PAUSE_S * 2.0**self._attempts, LONGEST_PAUSE_S)
        self._attempts = min(self._attempts + 1, 16)
        return pause_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 -- jitter is no secret

    def _offer(self, picture: Picture) -> None:
        """Put a picture in the slot; the one that nobody took is dropped."""
        now_s = time.monotonic()
        with self._changed:
            if self._finished:
                _release(picture)
                return
            self._drop_newest()
            self._count += picture.missed
            self.dropped += picture.missed
            frame = Frame(
                image=picture.image,
                time_s=self._rising(picture.time_s),
                epoch_s=time.time() - (now_s - picture.captured_s),
                available_s=picture.captured_s,
                number=self._count,
                orientation=self._orientation,
            )
            self._count += 1
            self._newest = (frame, picture)
            if self._attempts:
                self._attempts = 0
                self.reopened += 1
            if self._stalled:
                self._stalled = False
                _log.warning("recovered: %s after %.1f s without a frame", self.name, now_s - self._last_frame_s)
            self._last_frame_s = now_s
            self._changed.notify_all()

    def _look_for_stall(self) -> None:
        silence_s = time.monotonic() - self._last_frame_s
        waiting = self._count > 0 and not self._finished and not self._stalled and not self._grabber.recording
        if waiting and silence_s >= self._stall_timeout_s:
            self._stalled = True
            self.stalls += 1
            _log.warning("stall: %s has given no frame for %.1f s", self.name, silence_s)

    def _drop_newest(self) -> None:
        if self._newest is not None:
            _release(self._newest[1])
            self._newest = None
            self.dropped += 1

    def _hand_back(self) -> None:
        if self._in_use is not None:
            _release(self._in_use)
            self._in_use = None


def _release(picture: Picture) -> None:
    if picture.release is not None:
        picture.release()
