"""The Raspberry Pi's own cameras, through picamera2."""

from edge.camera_live import Picture
from edge.config import CameraSettings
from edge.errors import MissingDependencyError


class PiCamera:
    """A camera on the Pi's ribbon cable."""

    recording = False

    def __init__(self, settings: CameraSettings) -> None:
        self.name = settings.source

    def open(self) -> str:
        """See `edge.camera_live.Grabber`."""
        raise MissingDependencyError(
            f"{self.name}: picamera2 is not installed. On Raspberry Pi OS: sudo apt install python3-picamera2"
        )

    def grab(self) -> Picture | None:
        """See `edge.camera_live.Grabber`."""
        raise NotImplementedError

    def close(self) -> None:
        """See `edge.camera_live.Grabber`."""
