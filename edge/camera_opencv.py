"""Capture through OpenCV, the only file that opens a `cv2.VideoCapture`: V4L2 cameras and network streams."""

import logging
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera_clock import SenderClock
from edge.camera_diagnosis import why_no_stream
from edge.camera_live import Picture
from edge.camera_source import redact
from edge.config import CameraSettings
from edge.errors import SourceError, SourceNotFoundError

_log = logging.getLogger(__name__)

# FFmpeg's options reach OpenCV through one environment variable, read while a capture opens: one at a time.
_opening = threading.Lock()
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# A picture that does not decode fails a read, as a lost connection does every read.
QUICK_TRIES = 3
# Keep OpenCV's and FFmpeg's own messages off stdout and stderr, unless the user asked for them in OpenCV's variables.
# OpenCV reads FFmpeg's level once, when anything in the process first uses FFmpeg: so it is set here, on import.
_QUIET = "-8"  # AV_LOG_QUIET
_SILENT = 0
# OpenCV 4.13 moved it.
_set_log_level = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _QUIET)
if "OPENCV_LOG_LEVEL" not in os.environ:
    _set_log_level(_SILENT)


def video_capture(what: str, backend: int, options: dict[int, float], ffmpeg_options: str = "") -> cv2.VideoCapture:
    """Open a capture; the caller looks whether it `isOpened()`."""
    flat = [int(number) for pair in options.items() for number in pair]
    with _opening:
        _keep_secret(what)
        before = os.environ.get(_OPTIONS)
        if ffmpeg_options:
            os.environ[_OPTIONS] = ffmpeg_options
        try:
            return cv2.VideoCapture(what, backend, flat)
        finally:
            if ffmpeg_options:
                os.environ.pop(_OPTIONS)
                if before is not None:
                    os.environ[_OPTIONS] = before


def _keep_secret(source: str) -> None:
    """Talkative, FFmpeg prints addresses and requests, and OpenCV the whole URL: not where it holds a password."""
    talkative = "OPENCV_LOG_LEVEL" in os.environ or os.environ["OPENCV_FFMPEG_LOGLEVEL"] != _QUIET
    if talkative and redact(source) != source:
        _log.warning("OPENCV_LOG_LEVEL and OPENCV_FFMPEG_LOGLEVEL have no effect: they would print the URL's password")
        os.environ.pop("OPENCV_LOG_LEVEL", None)
        os.environ["OPENCV_FFMPEG_LOGLEVEL"] = _QUIET
        _set_log_level(_SILENT)


class _Capture:
    """What V4L2 cameras and network streams share: both are a `cv2.VideoCapture` that may fail at any time."""

    recording = False

    def __init__(self, settings: CameraSettings) -> None:
        self.name = redact(settings.source)
        self._settings = settings
        self._capture: cv2.VideoCapture | None = None

    def grab(self) -> Picture:
        """See `edge.camera_live.Grabber`."""
        if self._capture is None:
            raise SourceError(f"{self.name}: not open")
        asked_s = time.monotonic()
        for _ in range(QUICK_TRIES):
            arrived, image = self._capture.read()
            now_s = time.monotonic()
            # A read that ran into its timeout may still return a picture that was waiting in the decoder: an old one,
            # from a connection that FFmpeg has given up.
            silent = now_s - asked_s >= self._settings.stall_timeout
            if silent or arrived:
                break
        if silent or not arrived:
            what = f"no picture for {now_s - asked_s:.1f} s" if silent else "gives no more pictures"
            raise SourceError(f"{self.name}: {what}")
        captured_s = self._captured_s(self._capture, now_s)
        return Picture(self._bgr(image), captured_s, captured_s)

    def close(self) -> None:
        """See `edge.camera_live.Grabber`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _bgr(self, image: cv2.typing.MatLike) -> NDArray[np.uint8]:
        return np.asarray(image, dtype=np.uint8)

    def _captured_s(self, _capture: cv2.VideoCapture, now_s: float) -> float:
        return now_s


class Device(_Capture):
    """A V4L2 camera: `N` for /dev/videoN, or a path such as /dev/v4l/by-id/..., which stays the same when replugged."""

    def __init__(self, settings: CameraSettings) -> None:
        super().__init__(settings)
        source = settings.source
        self._path = Path(f"/dev/video{int(source)}" if source.isdecimal() else source)
        self.name = str(self._path)
        self._size = (0, 0)

    def open(self) -> str:
        """See `edge.camera_live.Grabber`."""
        self._look()
        asked = self._settings
        # OpenCV waits 10 s for a frame by itself; a stall is to be noticed sooner.
        os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(max(1, round(asked.stall_timeout)))
        options: dict[int, float] = {}
        if asked.pixel_format != "auto":
            options[cv2.CAP_PROP_FOURCC] = cv2.VideoWriter.fourcc(*asked.pixel_format)
        options |= {cv2.CAP_PROP_FRAME_WIDTH: asked.width, cv2.CAP_PROP_FRAME_HEIGHT: asked.height}
        # By its real path: a by-id link names the device, and OpenCV knows cameras by /dev/videoN.
        capture = video_capture(str(self._path.resolve()), cv2.CAP_V4L2, options)
        self._capture = capture
        if not capture.isOpened():
            self.close()
            raise SourceError(
                f"{self._path}: the device does not open as a camera. It may be in use by another program, or be no "
                "capture device: `edge-pose doctor` lists the cameras."
            )
        capture.set(cv2.CAP_PROP_FPS, asked.fps)
        return self._got(capture)

    def _look(self) -> None:
        if not self._path.exists():
            raise SourceNotFoundError(
                f"{self._path}: there is no such device. Plug the camera in, or see `edge-pose doctor` for the cameras."
            )
        if not self._path.is_char_device():
            raise SourceError(f"{self._path}: expected a camera device such as /dev/video0, and this is none.")
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise SourceError(
                f"{self._path}: no permission to use the camera. Add the user to the group `video`: "
                "sudo usermod -aG video $USER, then log in again."
            )

    def _got(self, capture: cv2.VideoCapture) -> str:
        code = int(capture.get(cv2.CAP_PROP_FOURCC))
        letters = code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ")
        width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        fps = capture.get(cv2.CAP_PROP_FPS)
        got = f"{width}x{height} {letters} at {fps:g} fps"
        self._size = (width, height)
        asked = self._settings
        format_missed = asked.pixel_format not in ("auto", letters)
        if self._size != (asked.width, asked.height) or abs(fps - asked.fps) > 0.5 or format_missed:
            wish = "" if asked.pixel_format == "auto" else f" {asked.pixel_format}"
            got += f" (asked for {asked.width}x{asked.height}{wish} at {asked.fps:g} fps)"
        return got

    def _bgr(self, image: cv2.typing.MatLike) -> NDArray[np.uint8]:
        """OpenCV hands the bytes of a camera that gives BGR by itself through as one long row."""
        width, height = self._size
        if image.size != 3 * width * height:
            raise SourceError(
                f"{self.name}: the camera's format cannot be decoded. Set camera.pixel_format to MJPG or YUYV."
            )
        return np.asarray(image, dtype=np.uint8).reshape(height, width, 3)

    def _captured_s(self, capture: cv2.VideoCapture, now_s: float) -> float:
        """The driver's time stamp where it is on the monotonic clock, as is usual; else the moment of arrival."""
        stamp_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return stamp_s if now_s - 5 < stamp_s <= now_s else now_s


class Stream(_Capture):
    """An RTSP or HTTP stream, through FFmpeg."""

    def __init__(self, settings: CameraSettings) -> None:
        super().__init__(settings)
        self._is_rtsp = settings.source.lower().startswith("rtsp")
        self._clock = SenderClock()

    def open(self) -> str:
        """See `edge.camera_live.Grabber`."""
        asked = self._settings
        options: dict[int, float] = {
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: 1000 * asked.open_timeout,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: 1000 * asked.stall_timeout,
            # With several threads FFmpeg decodes as many pictures at once, and each arrives that many pictures late.
            cv2.CAP_PROP_N_THREADS: 1,
        }
        ffmpeg_options = f"rtsp_transport;{asked.rtsp_transport}|fflags;nobuffer|flags;low_delay"
        start_s = time.monotonic()
        capture = video_capture(asked.source, cv2.CAP_FFMPEG, options, ffmpeg_options)
        self._capture = capture
        if not capture.isOpened():
            self.close()
            raise SourceError(f"{self.name}: the stream does not open: {why_no_stream(asked.source)}")
        _skip_old_pictures(capture, start_s)
        self._clock = SenderClock()
        size = f"{capture.get(cv2.CAP_PROP_FRAME_WIDTH):.0f}x{capture.get(cv2.CAP_PROP_FRAME_HEIGHT):.0f}"
        return f"{size} over {asked.rtsp_transport}" if self._is_rtsp else size

    def _captured_s(self, capture: cv2.VideoCapture, now_s: float) -> float:
        if not self._is_rtsp:  # FFmpeg makes up the time stamps of MJPEG
            return now_s
        return self._clock(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, now_s)


def _skip_old_pictures(capture: cv2.VideoCapture, start_s: float) -> None:
    """Throw away what FFmpeg collected while it examined the stream: up to 2 s of pictures.

    The queue is empty when a read has to wait; and a picture that the sender made as long after the first as this
    moment is after the connection cannot be an old one.
    """
    fps = capture.get(cv2.CAP_PROP_FPS)
    interval_s = 1 / fps if 1 <= fps <= 240 else 1 / 30
    first_s: float | None = None
    while True:
        asked_s = time.monotonic()
        if not capture.grab():
            return
        now_s = time.monotonic()
        stamp_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        first_s = stamp_s if first_s is None else first_s
        if now_s - asked_s > interval_s / 3 or (now_s - start_s) - (stamp_s - first_s) < interval_s:
            return
