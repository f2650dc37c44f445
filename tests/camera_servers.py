"""Network cameras for tests: servers in processes of their own, to be killed, frozen and started again."""

import contextlib
import functools
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from brokers import free_port
from camera_picture import BAR_PX, BARS_PX, BITS, HEIGHT, WIDTH, age_ms, picture
from numpy.typing import NDArray

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"
_RTSP_PARTS = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstApp', '1.0'); "
    "gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "assert all(Gst.ElementFactory.find(n) for n in ('x264enc', 'rtph264pay', 'appsrc', 'videoconvert'))"
)
RTSP_PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"


@functools.cache
def missing_rtsp_server() -> str:
    """Why no RTSP server can run here; empty if one can."""
    try:
        subprocess.run([SYSTEM_PYTHON, "-c", _RTSP_PARTS], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return f"no GStreamer RTSP server here: apt install {RTSP_PACKAGES}"
    return ""


class NetworkCamera:
    """A server that shows the test picture at a rate of its own."""

    def __init__(self, kind: str, fps: int = 15, login: str = "") -> None:
        self.kind = kind
        self.transport = "tcp"
        self.port = free_port()
        interpreter = SYSTEM_PYTHON if kind == "rtsp" else sys.executable
        self._command = [interpreter, str(HERE / f"camera_{kind}_server.py"), str(self.port), str(fps)]
        self._command += [login] if login else []
        self._login = login or "visitor:secret-word"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        scheme = "rtsp" if self.kind == "rtsp" else "http"
        return f"{scheme}://{self._login}@127.0.0.1:{self.port}/cam"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()


def picture_age_s(image: NDArray[np.uint8]) -> float:
    """How long ago the picture was made, read from its bars."""
    middles = [int((bit + 0.5) * BAR_PX * image.shape[1] / WIDTH) for bit in range(BITS)]
    row = image[image.shape[0] * BARS_PX // HEIGHT // 2].mean(axis=1)
    return age_ms(sum(1 << bit for bit, middle in enumerate(middles) if row[middle] > 127)) / 1000


def whole_picture() -> NDArray[np.uint8]:
    """The picture as an array, BGR."""
    return np.frombuffer(picture(0), np.uint8).reshape(HEIGHT, WIDTH, 3)


def write_clip(path: Path, frames: int, fps: float) -> Path:
    """A video file that shows the picture."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (WIDTH, HEIGHT))
    for _ in range(frames):
        writer.write(whole_picture())
    writer.release()
    return path


def kept() -> set[str]:
    """What this process holds: open handles by what they point to, and how many threads Python and the kernel count.

    Sockets and pipes are told apart by a number; it is left out, so that sets can be compared over time.
    """
    found: Counter[str] = Counter()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the handle of this very listing
            found[str(link.readlink()).partition("[")[0]] += 1
    found["threads of Python"] = threading.active_count()
    found["threads"] = len(list(Path("/proc/self/task").iterdir()))
    return {f"{number} of {name}" for name, count in found.items() for number in range(count)}
