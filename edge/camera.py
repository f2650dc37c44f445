"""Where frames come from: `open_source` turns what the user wrote into a `Source`."""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge.camera_files import open_path
from edge.camera_live import LiveSource
from edge.camera_opencv import Device, Stream
from edge.camera_picamera2 import PiCamera, check_tuning_file
from edge.camera_source import Source, redact
from edge.config import CameraSettings
from edge.errors import ConfigError
from edge.streams import is_utf8

__all__ = ["Source", "is_live", "open_source", "redact"]

_log = logging.getLogger(__name__)

PICAMERA2_ONLY = (
    *("hflip", "vflip", "exposure_us", "gain", "white_balance"),
    *("autofocus", "lens_position", "tuning_file"),
)
DEVICE_ONLY = ("pixel_format",)
STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")
FORMS = "picamera2[:N], /dev/videoN or N, rtsp://, http(s)://, a video file, an image, a folder of images, sample"


def open_source(settings: CameraSettings) -> Source:
    """Open the source that the settings name, and wait until it is known to give frames.

    Raises:
        ConfigError: a source that is not of a known form.
        SourceNotFoundError: a file or device that is not there.
        UnreadableMediaError: a file or folder without a readable picture.
        SourceError: a camera or stream that does not open, or gives no frame within `open_timeout`.
        MissingDependencyError: picamera2 where it is not installed.
    """
    opener = _opener(settings.source)
    used: dict[Callable[[CameraSettings], Source], tuple[str, ...]] = {_picamera2: PICAMERA2_ONLY, _device: DEVICE_ONLY}
    _warn_of_idle_settings(settings, used.get(opener, ()))
    return opener(settings)


def _warn_of_idle_settings(settings: CameraSettings, used: tuple[str, ...]) -> None:
    """Say which settings were changed for a kind of source that this is not."""
    for name in PICAMERA2_ONLY + DEVICE_ONLY:
        default = next(field.default for field in msgspec.structs.fields(CameraSettings) if field.name == name)
        if name not in used and getattr(settings, name) != default:
            _log.warning("camera.%s has no effect on %s", name, redact(settings.source))


def is_live(settings: CameraSettings) -> bool:
    """Whether the source's frames come at their own pace; known without opening it.

    Raises:
        ConfigError: a source that is not of a known form.
    """
    return settings.realtime or _opener(settings.source) in (_stream, _device, _picamera2)


def check_form(source: str) -> None:
    """Say whether a source is of a known form, without opening it; raises `ConfigError` if not."""
    _opener(source)


def check_files(settings: CameraSettings) -> None:
    """Look for the files that the settings name beside the source, without opening it; raises `ConfigError`."""
    if _opener(settings.source) is _picamera2:
        check_tuning_file(settings)


def _opener(source: str) -> Callable[[CameraSettings], Source]:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source)
    if scheme:
        if scheme[1].lower() not in STREAM_SCHEMES:
            raise ConfigError(f"camera.source = {redact(source)!r}: {scheme[1]}:// is not known; expected {FORMS}")
        if not is_utf8(source):
            raise ConfigError(f"camera.source = {redact(source)!r}: expected a URL in UTF-8")
        return _stream
    if source == "sample":
        return _sample
    if source == "picamera2" or source.startswith("picamera2:"):
        return _picamera2
    if source.isdecimal() or source.startswith("/dev/"):
        return _device
    if not source:
        raise ConfigError(f"camera.source is empty; expected {FORMS}")
    if redact(source) != source and not os.path.exists(source):  # noqa: PTH110 -- Path.exists fails on some names
        raise ConfigError(f"camera.source = {redact(source)!r} is neither a file nor a URL; expected {FORMS}")
    return _file


def _stream(settings: CameraSettings) -> Source:
    return LiveSource(Stream(settings), settings)


def _device(settings: CameraSettings) -> Source:
    return LiveSource(Device(settings), settings)


def _picamera2(settings: CameraSettings) -> Source:
    return LiveSource(PiCamera(settings), settings)


def _sample(settings: CameraSettings) -> Source:
    from edge.sample import clip_path

    return open_path(clip_path(), settings)


def _file(settings: CameraSettings) -> Source:
    return open_path(Path(settings.source).expanduser(), settings)
