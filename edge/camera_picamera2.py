"""The Raspberry Pi's own cameras, through picamera2, the only file that imports it.

What is asked of the camera, and why:

* One stream, `main`, in the size that the settings name. The image signal processor (ISP) scales and converts for
  nothing, so the models' input is cropped straight from what it writes. A second, smaller stream (`lores`) would save
  nothing while nobody looks at a larger one: it would only be written to memory as well.
* Format `RGB888`, which picamera2 names after the order in a register: in memory it is blue, green, red, that is
  `Frame.color` "BGR". No conversion is left to the CPU. Where a camera cannot give it, what it gives is converted.
* Six buffers: one is with the caller, one is the newest in the slot, one is kept by picamera2 as its last, and three
  are with the camera, so that it never waits.
* No raw stream, which would be written to memory for nobody. But the mode of the sensor is chosen: libcamera would take
  the one nearest in size, and of many sensors that is a cut-out from the middle of the view (IMX219 at 640x480: 39 % of
  the width).
* A frame is a view of the camera's memory through a mapping of our own. The buffer goes back to the camera when the
  caller takes the next frame; the mapping lasts as long as somebody holds the array.
"""

import gc
import logging
import mmap
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera_controls import controls, transform, widest_mode
from edge.camera_environment import explain_missing_picamera2
from edge.camera_live import Picture
from edge.config import CameraSettings
from edge.errors import ConfigError, MissingDependencyError, SourceError, SourceNotFoundError

_log = logging.getLogger(__name__)

BUFFERS = 6
FORMAT = "RGB888"
# Formats that a camera may give instead, and what makes BGR of them.
CONVERSIONS = {"NV12": cv2.COLOR_YUV2BGR_NV12, "NV21": cv2.COLOR_YUV2BGR_NV21, "YUV420": cv2.COLOR_YUV2BGR_I420}


def check_tuning_file(settings: CameraSettings) -> None:
    """Raise `ConfigError` where the settings name a tuning file that is not there."""
    if settings.tuning_file and not Path(settings.tuning_file).is_file():
        raise ConfigError(f"camera.tuning_file = {settings.tuning_file!r}: there is no such file.")


def make_camera(number: int, tuning_file: str) -> Any:  # noqa: ANN401 -- a Picamera2, which has no types
    """The one place where a Picamera2 object is made; tests put their own in its stead.

    Raises:
        RuntimeError: what picamera2 raises when the camera does not open.
    """
    from picamera2 import Picamera2

    class Camera(Picamera2):  # type: ignore[misc]
        """Closes the end of a pipe that Picamera2 leaves open when its constructor fails."""

        def __init__(self) -> None:
            try:
                super().__init__(number, tuning=tuning_file or None)
            except Exception:
                if hasattr(self, "notifyme_w"):
                    os.close(self.notifyme_w)
                raise

    return Camera()


def camera_infos() -> list[dict[str, Any]]:
    """What libcamera knows of the attached cameras, in picamera2's order: `Model`, `Id` and more.

    Raises:
        MissingDependencyError: picamera2 cannot be imported; the message holds the command that mends it.
    """
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")  # else libcamera greets on stderr
    try:
        from picamera2 import Picamera2
    except Exception as error:  # noqa: BLE001
        # Not only ImportError: compiled parts built against another numpy raise ValueError, a missing display
        # library AttributeError.
        raise MissingDependencyError(explain_missing_picamera2(error)) from None
    return list(Picamera2.global_camera_info())


class PiCamera:
    """A camera that libcamera knows, as a `Grabber`: `picamera2`, `picamera2:N` or `picamera2:ID`."""

    recording = False

    def __init__(self, settings: CameraSettings) -> None:
        self.name = settings.source
        self._settings = settings
        self._wanted = settings.source.partition(":")[2]
        self._camera: Any = None
        self._job: Any = None
        self._stamp_ns = 0
        self._maps: dict[int, mmap.mmap] = {}
        self._held: list[Any] = []
        self._releasing = threading.Lock()
        check_tuning_file(settings)

    def open(self) -> str:
        """See `edge.camera_live.Grabber`."""
        infos = camera_infos()
        number = self._number(infos)
        self._stamp_ns = 0  # while it was away there were no pictures that could have been missed
        try:
            self._camera = make_camera(number, self._settings.tuning_file)
            self._configure()
            self._camera.start()
        except (RuntimeError, OSError) as error:
            self.close()
            raise SourceError(
                f"{self.name}: the camera does not open: {error.__cause__ or error}. Another program may be using it; "
                "`edge-pose doctor` looks."
            ) from error
        main = self._camera.camera_configuration()["main"]
        got = f"{infos[number].get('Model', 'camera')} {main['size'][0]}x{main['size'][1]} {main['format']}"
        return f"{got} at {self._settings.fps:g} fps"

    def grab(self) -> Picture:
        """See `edge.camera_live.Grabber`."""
        if self._job is None:
            self._job = self._camera.capture_request(wait=False)
        try:
            request = self._job.get_result(timeout=self._settings.stall_timeout)
        except TimeoutError:
            raise SourceError(f"{self.name}: no picture for {self._settings.stall_timeout:g} s") from None
        self._job = None
        with self._releasing:
            self._held.append(request)
        metadata = request.get_metadata()
        captured_s = _captured_s(metadata)
        missed = self._missed(metadata)
        image, is_view = self._image(request)
        if is_view:
            return Picture(image, captured_s, captured_s, lambda: self._release(request), missed)
        self._release(request)
        return Picture(image, captured_s, captured_s, missed=missed)

    def close(self) -> None:
        """See `edge.camera_live.Grabber`."""
        camera, self._camera = self._camera, None
        if camera is None:
            return
        self._job = None
        try:
            camera.cancel_all_and_flush()
            camera.stop()
            # Buffers that somebody still looks at go back too: stopped, the camera does not write to them any more.
            for request in list(self._held):
                self._release(request)
            camera.close()
        except (RuntimeError, OSError) as error:
            _log.warning("%s: did not close cleanly: %s", self.name, error)
        self._maps.clear()
        # Picamera2 and its event loop refer to each other and hold handles open until somebody looks for such circles.
        del camera
        gc.collect()

    def _number(self, infos: Sequence[Mapping[str, Any]]) -> int:
        known = ", ".join(f"picamera2:{n} ({info.get('Model', '?')}, {info['Id']})" for n, info in enumerate(infos))
        if not infos:
            raise SourceNotFoundError(
                f"{self.name}: libcamera finds no camera. Check the ribbon cable, with the power off, and "
                "`rpicam-hello --list-cameras`."
            )
        ids = [str(info["Id"]) for info in infos]
        number = ids.index(self._wanted) if self._wanted in ids else -1
        if not self._wanted:
            number = 0
        elif self._wanted.isdecimal():
            number = int(self._wanted)
        if not 0 <= number < len(infos):
            raise SourceNotFoundError(f"{self.name}: there is no such camera. There are: {known}.")
        return number

    def _configure(self) -> None:
        asked = self._settings
        camera = self._camera
        sensor = {}
        if "ColorFilterArrangement" in camera.camera_properties:  # a sensor behind the Pi's own ISP
            mode = widest_mode(camera.sensor_modes, asked.fps)
            sensor = {"sensor": {"output_size": mode["size"], "bit_depth": mode["bit_depth"]}}
        configuration = camera.create_video_configuration(
            main={"size": (asked.width, asked.height), "format": FORMAT},
            raw=None,
            buffer_count=BUFFERS,
            transform=transform(asked),
            controls=controls(asked, set(camera.camera_controls)),
            display=None,
            encode=None,
            **sensor,
        )
        camera.configure(configuration)
        given = camera.camera_configuration()["main"]["format"]
        if given != FORMAT and given not in CONVERSIONS:
            raise SourceError(
                f"{self.name}: the camera gives pictures as {given}; expected {FORMAT}, {', '.join(CONVERSIONS)}. "
                "A USB camera works as /dev/videoN."
            )

    def _missed(self, metadata: Mapping[str, Any]) -> int:
        """Pictures between this one and the last, as far as time stamps tell."""
        stamp_ns, duration_us = int(metadata.get("SensorTimestamp", 0)), int(metadata.get("FrameDuration", 0))
        last_ns, self._stamp_ns = self._stamp_ns, stamp_ns
        if not last_ns or not stamp_ns or not duration_us:
            return 0
        return max(0, round((stamp_ns - last_ns) / 1000 / duration_us) - 1)

    def _image(self, request: Any) -> tuple[NDArray[np.uint8], bool]:  # noqa: ANN401 -- picamera2 has no types
        """The picture in BGR, and whether it is a view of the camera's own memory."""
        main = self._camera.camera_configuration()["main"]
        (width, height), stride = main["size"], main["stride"]
        memory = self._memory(request)
        if main["format"] == FORMAT:
            rows = memory[: height * stride].reshape(height, stride)
            return rows[:, : 3 * width].reshape(height, width, 3), True
        # Padding at the end of the rows is converted too and cut off afterwards: that keeps the colour planes in place.
        yuv = memory[: height * 3 // 2 * stride].reshape(height * 3 // 2, stride)
        bgr = cv2.cvtColor(yuv, CONVERSIONS[main["format"]])
        return np.asarray(bgr, dtype=np.uint8)[:, :width], False

    def _memory(self, request: Any) -> NDArray[np.uint8]:  # noqa: ANN401 -- picamera2 has no types
        """The bytes of the request's buffer, read only, through a mapping that is made once for each buffer."""
        planes = request.request.buffers[request.stream_map["main"]].planes
        fd = planes[0].fd
        if fd not in self._maps:
            length = sum(plane.length for plane in planes)
            self._maps[fd] = mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ)
        return np.frombuffer(self._maps[fd], dtype=np.uint8)

    def _release(self, request: Any) -> None:  # noqa: ANN401 -- picamera2 has no types
        with self._releasing:
            if request in self._held:
                self._held.remove(request)
                request.release()


def _captured_s(metadata: Mapping[str, Any]) -> float:
    """`SensorTimestamp`, the start of the exposure, as `time.monotonic()` has it.

    libcamera counts it from the start of the system, in CLOCK_BOOTTIME or CLOCK_MONOTONIC depending on the driver; they
    differ by the time that the machine has slept.
    """
    now_s = time.monotonic()
    stamp_s = int(metadata.get("SensorTimestamp", 0)) / 1e9
    slept_s = time.clock_gettime(time.CLOCK_BOOTTIME) - now_s
    for candidate_s in (stamp_s, stamp_s - slept_s):
        if now_s - 5 < candidate_s <= now_s:
            return candidate_s
    return now_s
