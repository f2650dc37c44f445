"""The contract of `edge.camera_source`, over every source that can exist on this machine."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from brokers import eventually
from camera_servers import NetworkCamera, kept, missing_rtsp_server, picture_age_s, whole_picture, write_clip
from camera_virtual import missing_picamera2, use_virtual_camera

from edge.camera import Source, open_source
from edge.camera_list import v4l2_cameras
from edge.config import CameraSettings

FPS = 60  # the more, the sooner FFmpeg has seen enough of a stream to open it
NETWORK = ("mjpeg", "rtsp-tcp", "rtsp-udp")
# How old a frame may be on a busy machine, beyond the camera's interval; a queue would grow far past it.
SLACK_S = 0.5


@dataclass
class Case:
    """A source to test: its settings, and what may be said of what it shows."""

    kind: str
    settings: CameraSettings
    shows_picture: bool = True
    shows_time: bool = False

    def open(self, **changes: object) -> Source:
        values = {field: getattr(self.settings, field) for field in self.settings.__struct_fields__}
        return open_source(CameraSettings(**(values | changes)))


def files(kind: str, folder: Path) -> Case:
    if kind == "image":
        path = folder / "picture.png"
        cv2.imwrite(str(path), whole_picture())
        return Case(kind, CameraSettings(source=str(path)))
    if kind == "folder":
        for number in range(5):
            cv2.imwrite(str(folder / f"{number}.png"), whole_picture())
        return Case(kind, CameraSettings(source=str(folder)))
    clip = write_clip(folder / "clip.mp4", 20, FPS)
    return Case(kind, CameraSettings(source=str(clip), realtime=kind == "paced video", loop=kind == "paced video"))


def kinds() -> list[Any]:
    """All kinds of source, those that cannot exist here marked as skipped, with the reason."""
    missing = {
        "v4l2": "" if usable_devices() else "no V4L2 camera here; tests/hardware/test-v4l2 checks one in a guest"
    }
    missing["picamera2"] = missing_picamera2()
    missing["rtsp-tcp"] = missing["rtsp-udp"] = missing_rtsp_server()
    names = ["video", "paced video", "image", "folder", *NETWORK, "v4l2", "picamera2"]
    return [
        pytest.param(name, marks=pytest.mark.skip(reason=missing[name])) if missing.get(name) else name
        for name in names
    ]


def usable_devices() -> list[str]:
    return [camera.source for camera in v4l2_cameras() if not camera.problem]


@pytest.fixture(scope="module")
def network_cameras() -> Iterator[Callable[[str], NetworkCamera]]:
    running: dict[str, NetworkCamera] = {}

    def get(kind: str) -> NetworkCamera:
        if kind not in running:
            running[kind] = NetworkCamera(kind, FPS)
        return running[kind]

    yield get
    for camera in running.values():
        camera.kill()


@pytest.fixture(params=kinds())
def case(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    network_cameras: Callable[[str], NetworkCamera],
) -> Case:
    kind: str = request.param
    if kind in NETWORK:
        protocol, _, transport = kind.partition("-")
        url = network_cameras(protocol).url
        udp = CameraSettings(source=url, rtsp_transport="udp")
        return Case(kind, udp if transport == "udp" else CameraSettings(source=url), shows_time=True)
    if kind == "v4l2":
        return Case(kind, CameraSettings(source=usable_devices()[0]), shows_picture=False)
    if kind == "picamera2":
        is_virtual = use_virtual_camera(monkeypatch)
        source = "picamera2:Virtual1" if is_virtual else "picamera2"
        return Case(kind, CameraSettings(source=source), shows_picture=is_virtual)
    return files(kind, tmp_path)


def test_red_and_blue_arrive_red_and_blue(case: Case) -> None:
    if not case.shows_picture:
        pytest.skip("nobody knows what is in front of this camera")
    with case.open() as source:
        frame = next(source)
    assert frame.color == "BGR"
    assert frame.image.dtype == np.uint8
    height, width = frame.image.shape[:2]
    left, right = frame.image[height // 2 :, : width // 2 - 8], frame.image[height // 2 :, width // 2 + 8 :]
    assert left.mean(axis=(0, 1)) == pytest.approx([0, 0, 255], abs=20)
    assert right.mean(axis=(0, 1)) == pytest.approx([255, 0, 0], abs=20)


def test_time_and_number_rise(case: Case) -> None:
    with case.open() as source:
        frames = list(itertools.islice(source, 12))
        behind = [(frame.time_s, frame.number, frame.epoch_s) for frame in frames]
        now_s, now_epoch_s = time.monotonic(), time.time()
    assert behind
    for earlier, later in itertools.pairwise(behind):
        assert later[0] > earlier[0]
        assert later[1] > earlier[1]
    assert all(frame.available_s <= now_s for frame in frames)
    if source.live:
        assert abs(behind[-1][2] - now_epoch_s) < SLACK_S + 0.1


def test_a_slow_reader_of_a_live_source_gets_the_newest_frame_and_of_a_file_every_frame(case: Case) -> None:
    with case.open() as source:
        ages_s, numbers = [], []
        for _ in range(6 if source.live else 100):
            frame = source.read(timeout_s=5)
            if frame is None:
                break
            ages_s.append(picture_age_s(frame.image) if case.shows_time else time.monotonic() - frame.available_s)
            numbers.append(frame.number)
            time.sleep(0.3 if source.live else 0)
        dropped = source.dropped
    if source.live:
        assert max(ages_s[1:]) < 1 / FPS + SLACK_S
        assert numbers[-1] - numbers[0] + 1 > len(numbers)
        assert dropped > 0
    else:
        assert numbers == list(range(len(numbers)))
        assert dropped == 0
        assert source.ended


def test_turning_and_mirroring_is_stated_and_costs_no_copy(case: Case) -> None:
    with case.open() as plain:
        upright = next(plain).image.shape
    with case.open(rotate=90, mirror=True) as source:
        frame = next(source)
        assert (frame.orientation.rotate, frame.orientation.mirror) == (90, True)
        assert frame.image.shape == upright
        assert (frame.width_px, frame.height_px) == upright[:2]


def test_closing_ends_a_read_and_leaves_no_thread_and_no_handle(case: Case) -> None:
    def once() -> None:
        source = case.open(loop=True)
        next(source)
        closer = threading.Timer(0.2, source.close)
        closer.start()
        for _ in source:
            pass
        closer.join()
        assert source.ended
        assert source.read(timeout_s=0.1) is None
        source.close()

    once()  # OpenCV and libcamera keep some things for good, once
    before = kept()
    once()
    once()
    assert eventually(lambda: kept() <= before), f"{kept()} after {before}"


def test_a_name_and_a_log_hold_no_password(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"), case.open() as source:
        next(source)
        shown = f"{source.name} {source.details} {caplog.text} {[thread.name for thread in threading.enumerate()]}"
    assert "secret-word" not in shown
    assert source.name


def test_reading_gives_up_after_the_time_allowed(case: Case) -> None:
    with case.open() as source:
        took_s = timed(lambda: source.read(timeout_s=0.0))
    assert took_s < SLACK_S


def timed(action: Callable[[], object]) -> float:
    start_s = time.monotonic()
    action()
    return time.monotonic() - start_s
