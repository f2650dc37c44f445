"""picamera2: what is asked of a camera, and real picamera2 on libcamera's virtual camera (scripts/test-picamera2)."""

import logging
import os
import time
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from brokers import eventually
from camera_servers import kept
from camera_virtual import VIRTUAL, Faults, missing_picamera2, use_virtual_camera

from edge import camera_picamera2
from edge.camera import open_source
from edge.camera_controls import controls, widest_mode
from edge.camera_list import list_cameras
from edge.config import CameraSettings
from edge.errors import ConfigError, SourceError, SourceNotFoundError

needs_virtual_camera = pytest.mark.skipif(
    VIRTUAL not in os.environ or bool(missing_picamera2()), reason="run by scripts/test-picamera2 on a virtual camera"
)

# What picamera2 lists of the sensors: size, bit depth, highest rate, and the part of the sensor that is seen.
IMX219 = [
    {"size": (640, 480), "bit_depth": 10, "fps": 103.33, "crop_limits": (1000, 752, 1280, 960)},
    {"size": (1640, 1232), "bit_depth": 10, "fps": 41.85, "crop_limits": (0, 0, 3280, 2464)},
    {"size": (1920, 1080), "bit_depth": 10, "fps": 47.57, "crop_limits": (680, 692, 1920, 1080)},
    {"size": (3280, 2464), "bit_depth": 10, "fps": 21.19, "crop_limits": (0, 0, 3280, 2464)},
]
IMX708 = [
    {"size": (1536, 864), "bit_depth": 10, "fps": 120.13, "crop_limits": (768, 432, 3072, 1728)},
    {"size": (2304, 1296), "bit_depth": 10, "fps": 56.03, "crop_limits": (0, 0, 4608, 2592)},
    {"size": (4608, 2592), "bit_depth": 10, "fps": 14.35, "crop_limits": (0, 0, 4608, 2592)},
]

# The virtual camera has four buffers, however many it is asked for. Each may be held by libcamera, by the mapping of
# edge.camera_picamera2, and for a moment by picamera2.
VIRTUAL_BUFFERS = 4
HANDLES_A_BUFFER = 3
BUFFER = "memfd:buffer"


@pytest.mark.parametrize(
    ("modes", "fps", "size"),
    [
        (IMX219, 30, (1640, 1232)),  # not the 640x480 cut-out, which libcamera would take
        (IMX219, 15, (1640, 1232)),  # as wide as the largest, and a quarter of its work
        (IMX219, 45, (1920, 1080)),
        (IMX219, 90, (640, 480)),
        (IMX219, 500, (640, 480)),
        (IMX708, 30, (2304, 1296)),
        (IMX708, 100, (1536, 864)),
    ],
)
def test_the_sensor_mode_is_the_one_that_sees_most_at_the_rate(
    modes: list[dict[str, object]], fps: float, size: tuple[int, int]
) -> None:
    assert widest_mode(modes, fps)["size"] == size


def test_pictures_that_a_camera_did_not_take_while_it_was_away_are_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    stamps_s = iter([1.0, 1.3, 601.3, 601.5])
    memory = os.memfd_create("picture")
    os.truncate(memory, 64 * 48 * 3)

    def request() -> SimpleNamespace:
        buffer = SimpleNamespace(planes=[SimpleNamespace(fd=memory, length=64 * 48 * 3)])
        return SimpleNamespace(
            get_metadata=lambda: {"SensorTimestamp": round(next(stamps_s) * 1e9), "FrameDuration": 100_000},
            request=SimpleNamespace(buffers={"stream": buffer}),
            stream_map={"main": "stream"},
            release=lambda: None,
        )

    def made(*_: object) -> MagicMock:
        camera = MagicMock(camera_properties={}, camera_controls={})
        camera.camera_configuration.return_value = {
            "main": {"size": (64, 48), "stride": 64 * 3, "format": camera_picamera2.FORMAT}
        }
        camera.capture_request.side_effect = lambda **_: SimpleNamespace(get_result=lambda **_: request())
        return camera

    monkeypatch.setattr(camera_picamera2, "camera_infos", lambda: [{"Id": "0", "Model": "imx"}])
    monkeypatch.setattr(camera_picamera2, "make_camera", made)
    for needs_libcamera in ("controls", "transform"):
        monkeypatch.setattr(camera_picamera2, needs_libcamera, lambda *_: None)
    camera, missed = camera_picamera2.PiCamera(CameraSettings(source="picamera2")), []
    for _ in range(2):
        camera.open()
        missed += [camera.grab().missed, camera.grab().missed]
        camera.close()
    os.close(memory)
    assert missed == [0, 2, 0, 1]


@needs_virtual_camera
def test_picamera2_controls_follow_the_settings() -> None:
    everything = {"FrameDurationLimits", "ExposureTime", "AnalogueGain", "AwbMode", "AfMode", "LensPosition"}
    plain = controls(CameraSettings(fps=25), everything)
    assert plain["FrameDurationLimits"] == (40_000, 40_000)
    assert set(plain) == {"FrameDurationLimits", "AfMode"}
    asked = CameraSettings(exposure_us=5000, gain=2.0, white_balance="daylight", autofocus="off", lens_position=0.5)
    chosen = controls(asked, everything)
    assert (chosen["ExposureTime"], chosen["AnalogueGain"], chosen["LensPosition"]) == (5000, 2.0, 0.5)
    assert set(chosen) == everything


@needs_virtual_camera
def test_picamera2_says_which_setting_a_camera_cannot_follow() -> None:
    assert controls(CameraSettings(), set()) == {}
    with pytest.raises(ConfigError, match=r"camera\.autofocus"):
        controls(CameraSettings(autofocus="off"), {"ExposureTime"})


@needs_virtual_camera
def test_picamera2_cameras_are_listed_and_found_by_number_and_id(monkeypatch: pytest.MonkeyPatch) -> None:
    use_virtual_camera(monkeypatch)
    listed = [camera for camera in list_cameras() if camera.source.startswith("picamera2")]
    assert len(listed) == 2
    for number, camera in enumerate(listed):
        identity = camera.description.rpartition(", ")[2]
        with open_source(CameraSettings(source=f"picamera2:{number}")) as by_number:
            one = by_number.details
        with open_source(CameraSettings(source=f"picamera2:{identity}")) as by_id:
            assert by_id.details == one
    for wrong in ("picamera2:2", "picamera2:nothing"):
        with pytest.raises(SourceNotFoundError, match="picamera2:1"):
            open_source(CameraSettings(source=wrong))


@needs_virtual_camera
def test_two_picamera2_cameras_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    use_virtual_camera(monkeypatch)
    with (
        open_source(CameraSettings(source="picamera2:Virtual0")) as bars,
        open_source(CameraSettings(source="picamera2:Virtual1")) as picture,
    ):
        for _ in range(10):
            one, other = next(bars), next(picture)
            assert (one.image != other.image).any()


@needs_virtual_camera
def test_a_picamera2_camera_that_is_in_use_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    use_virtual_camera(monkeypatch)
    settings = CameraSettings(source="picamera2:Virtual0")
    with open_source(settings) as first:
        next(first)
        with pytest.raises(SourceError, match="does not open"):
            open_source(settings)
        assert first.read(timeout_s=5) is not None


@needs_virtual_camera
def test_a_silent_picamera2_camera_is_opened_anew_and_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults()
    use_virtual_camera(monkeypatch, faults)
    settings = CameraSettings(source="picamera2:Virtual1", stall_timeout=1.0)

    def rounds(count: int) -> None:
        for _ in range(count):
            faults.silent = True
            assert eventually(lambda: source.read(timeout_s=0.1) is None and source.stalled)
            time.sleep(0.5)
            faults.silent = False
            for _ in range(30):
                assert source.read(timeout_s=10) is not None

    def kept_beside_buffers() -> set[str]:
        return {thing for thing in kept() if BUFFER not in thing}

    with open_source(settings) as source:  # libcamera keeps some things for good, once
        next(source)
    before = kept()
    with caplog.at_level(logging.INFO), open_source(settings) as source:
        rounds(1)
        before_rounds = kept_beside_buffers()
        rounds(4)
        assert eventually(lambda: kept_beside_buffers() <= before_rounds), kept_beside_buffers() - before_rounds
        # Which of the buffers have been seen, and so mapped, is chance; but no more than one camera's are held.
        assert len(kept() - kept_beside_buffers()) <= HANDLES_A_BUFFER * VIRTUAL_BUFFERS
        messages = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert eventually(lambda: kept() <= before), kept() - before
    assert faults.opened >= 7
    assert (messages.count("stall"), messages.count("recovered")) == (5, 5)
