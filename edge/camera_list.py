"""What cameras this machine has, and whether they may be opened: for `edge-pose doctor`."""

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from edge.camera_picamera2 import camera_infos
from edge.errors import MissingDependencyError

# <linux/videodev2.h>: VIDIOC_QUERYCAP = _IOR('V', 0, struct v4l2_capability), whose 104 bytes are driver[16], card[32],
# bus_info[32], version, capabilities, device_caps, reserved[3].
_VIDIOC_QUERYCAP = 0x80685600
_CAPABILITY = struct.Struct("=16s32s32s6I")
_VIDEO_CAPTURE = 0x1
_VIDEO_CAPTURE_MPLANE = 0x1000
_DEVICE_CAPS = 0x80000000
_STREAMING = 0x04000000
# Drivers of the Pi that are stages of its own camera pipeline: they are V4L2 devices, but no cameras by themselves.
_PIPELINE_DRIVERS = frozenset(
    {"unicam", "bcm2835-codec", "bcm2835-isp", "rpi-hevc-dec", "rpivid", "rp1-cfe", "pispbe", "bcm2835_mmal"}
)
# Where picamera2 gets the memory for its pictures: it takes the first of these that exists.
DMA_HEAPS = (Path("/dev/dma_heap/vidbuf_cached"), Path("/dev/dma_heap/linux,cma"))


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that this machine has.

    Attributes:
        source: what to write as `--source`.
        description: model or card, driver, bus.
        problem: why it cannot be opened, with the mend; empty if it can.
    """

    source: str
    description: str
    problem: str = ""


def list_cameras() -> list[Camera]:
    """All cameras: those of libcamera where picamera2 is installed, and the V4L2 capture devices."""
    return [*_libcamera_cameras(), *v4l2_cameras()]


def v4l2_cameras() -> list[Camera]:
    """V4L2 devices that capture pictures, by their stable name where they have one."""
    stable = {link.resolve(): link for link in sorted(Path("/dev/v4l/by-id").glob("*"))}
    found = []
    for path in sorted(Path("/dev").glob("video[0-9]*"), key=lambda path: int(path.name[5:])):
        source = str(stable.get(path, path))
        problem = permission_problem(path)
        if problem:
            found.append(Camera(source, str(path), problem))
            continue
        description = _describe_device(path)
        if description:
            found.append(Camera(source, f"{description}, {path}" if source != str(path) else description))
    return found


def permission_problem(device: Path) -> str:
    """Why the user may not open a device, with the mend; empty if it may be opened."""
    if os.access(device, os.R_OK | os.W_OK):
        return ""
    try:
        group = device.group()
    except (KeyError, OSError):
        group = "video"
    return f"no permission to open {device}: sudo usermod -aG {group} $USER, then log in again"


def dma_heap_problem() -> str:
    """Why picamera2 may not get memory for its pictures, with the mend; empty if it may or there is no heap."""
    heap = next((heap for heap in DMA_HEAPS if heap.exists()), None)
    return permission_problem(heap) if heap else ""


def picamera2_problem() -> str:
    """Why picamera2 cannot be imported here, with the command that mends it; empty if it can."""
    try:
        camera_infos()
    except MissingDependencyError as error:
        return str(error)
    return ""


def _libcamera_cameras() -> list[Camera]:
    if picamera2_problem():
        return []
    problem = dma_heap_problem()
    return [
        Camera(f"picamera2:{number}", f"{info.get('Model', 'camera')}, {info['Id']}", problem)
        for number, info in enumerate(camera_infos())
    ]


def _describe_device(path: Path) -> str:
    """Card, driver and bus of a device that captures video; empty for any other."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        answer = fcntl.ioctl(handle, _VIDIOC_QUERYCAP, bytes(_CAPABILITY.size))
    except OSError:
        return ""
    finally:
        os.close(handle)
    driver, card, bus, _, all_caps, own_caps, *_ = _CAPABILITY.unpack(answer)
    caps = own_caps if all_caps & _DEVICE_CAPS else all_caps
    captures = caps & (_VIDEO_CAPTURE | _VIDEO_CAPTURE_MPLANE) and caps & _STREAMING
    words = [field.split(b"\0")[0].decode(errors="replace") for field in (card, driver, bus)]
    if not captures or words[1] in _PIPELINE_DRIVERS:
        return ""
    return f"{words[0]} ({words[1]}, {words[2]})"
