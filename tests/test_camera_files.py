"""Files, images and folders as sources; and what is said of those that are none."""

import itertools
import logging
import os
import re
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.camera import open_source, redact
from edge.config import CameraSettings
from edge.errors import (
    ConfigError,
    EdgePoseError,
    MissingDependencyError,
    SourceError,
    SourceNotFoundError,
    UnreadableMediaError,
)
from edge.pose import Degrees, Orientation

Image = NDArray[Any]
FPS = 20.0
FRAMES = 30


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video whose picture gets brighter from frame to frame."""
    path = tmp_path_factory.mktemp("clip") / "grey.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (64, 48))
    for number in range(FRAMES):
        writer.write(np.full((48, 64, 3), 8 * number, dtype=np.uint8))
    writer.release()
    return path


def red_and_blue(height: int = 40, width: int = 60, channels: int = 3) -> Image:
    """Left half red, right half blue, in BGR."""
    image = np.zeros((height, width, channels), dtype=np.uint8)
    image[:, : width // 2, 2] = 255
    image[:, width // 2 :, 0] = 255
    if channels == 4:
        image[..., 3] = 10
    return image


def test_a_video_gives_every_frame_with_its_time_stamp(clip: Path) -> None:
    with open_source(CameraSettings(source=str(clip))) as source:
        frames = list(source)
    assert [frame.number for frame in frames] == list(range(FRAMES))
    assert [frame.time_s for frame in frames] == pytest.approx([n / FPS for n in range(FRAMES)], abs=1e-3)
    levels = [float(frame.image.mean()) for frame in frames]
    assert levels == sorted(levels)
    assert source.ended
    assert not source.live


def test_a_loop_keeps_time_rising_in_even_steps(clip: Path) -> None:
    with open_source(CameraSettings(source=str(clip), loop=True)) as source:
        frames = list(itertools.islice(source, 2 * FRAMES + 5))
    steps = np.diff([frame.time_s for frame in frames])
    assert steps == pytest.approx(np.full(len(steps), 1 / FPS), abs=1e-3)
    assert frames[FRAMES].image.mean() == frames[0].image.mean()


def test_realtime_paces_a_video_and_drops_what_a_slow_reader_misses(clip: Path) -> None:
    with open_source(CameraSettings(source=str(clip), realtime=True)) as source:
        assert source.live
        first = next(source)
        time.sleep(5.5 / FPS)
        frames = [first, *source]
    seen = [frame.number for frame in frames]
    assert seen == sorted(set(seen))
    assert 1 <= len(seen) <= FRAMES - 4
    assert source.dropped == FRAMES - len(seen)
    took_s = frames[-1].available_s - first.available_s
    assert took_s >= frames[-1].time_s - first.time_s - 0.02


def test_a_film_that_vanishes_is_reported_once_and_goes_on_at_its_pace_when_it_is_back(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film, aside = tmp_path / "film.mp4", tmp_path / "aside.mp4"
    film.write_bytes(clip.read_bytes())
    with (
        caplog.at_level(logging.INFO),
        open_source(CameraSettings(source=str(film), loop=True, realtime=True)) as source,
    ):
        next(source)
        film.rename(aside)
        while source.read(1.0) is not None:
            pass
        time.sleep(2.5)
        aside.rename(film)
        first = source.read(5.0)
        frames = list(itertools.islice(source, 10))
    lost = [record.getMessage() for record in caplog.records if "lost" in record.getMessage()]
    assert len(lost) == 1
    assert "there is no such file" in lost[0]
    assert first is not None
    assert frames[-1].available_s - first.available_s > 9 / FPS
    assert source.reopened == 1


def test_a_film_that_vanishes_from_a_loop_that_is_not_live_is_named(clip: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(clip.read_bytes())
    with open_source(CameraSettings(source=str(film), loop=True)) as source:
        next(source)
        film.unlink()
        with pytest.raises(SourceNotFoundError, match=r"film\.mp4: there is no such file"):
            list(source)


def motion_jpeg(path: Path, frames: int = FRAMES) -> list[int]:
    """A film of whole JPEGs, each brighter than the one before; returns where they begin."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 8 * number, dtype=np.uint8))
    writer.release()
    return [found.end() + 4 for found in re.finditer(b"00dc", path.read_bytes().partition(b"idx1")[0])][-frames:]


@pytest.mark.parametrize("damaged", [(10,), (10, 11, 12), (FRAMES - 1,)])
def test_frames_that_do_not_decode_are_left_out_and_the_rest_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damaged: tuple[int, ...]
) -> None:
    path = tmp_path / "film.avi"
    starts = motion_jpeg(path)
    content = bytearray(path.read_bytes())
    for number in damaged:
        size = int.from_bytes(content[starts[number] - 4 : starts[number]], "little")
        content[starts[number] : starts[number] + size] = bytes(size)
    path.write_bytes(content)
    with open_source(CameraSettings(source=str(path))) as source:
        frames = list(source)
    assert len(frames) == FRAMES - len(damaged)
    if damaged[-1] < FRAMES - 1:  # of the last one nothing tells that it should be there
        assert f"{len(damaged)} frames could not be decoded; damaged?" in caplog.text


def test_a_film_that_is_still_being_copied_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.camera_live.LONGEST_PAUSE_S", 0.2)
    path, whole = tmp_path / "film.avi", tmp_path / "whole.avi"
    starts = motion_jpeg(path)
    whole.write_bytes(path.read_bytes())
    with open_source(CameraSettings(source=str(path), loop=True, realtime=True)) as source:
        assert source.read(5) is not None
        path.write_bytes(whole.read_bytes()[: starts[0]])  # its beginning, without a picture
        while source.read(1) is not None:
            pass
        whole.rename(path)
        assert source.read(5) is not None


def test_a_picture_that_no_model_can_be_shown_is_left_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((2, 33_000, 3), np.uint8))
    with pytest.raises(UnreadableMediaError, match=r"wide\.png: 33000x2 px are too many"):
        open_source(CameraSettings(source=str(tmp_path / "wide.png")))


def test_what_is_damaged_is_said_once_and_not_at_every_round(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film, folder = tmp_path / "film.avi", tmp_path / "pictures"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (640, 480))
    for _ in range(FRAMES):
        writer.write(np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8))
    writer.release()
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 3])
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), red_and_blue())
    (folder / "2.png").write_bytes(b"no picture")
    for source, words in ((film, f"of {FRAMES} frames; damaged?"), (folder, "left out")):
        caplog.clear()
        with open_source(CameraSettings(source=str(source), loop=True)) as opened:
            list(itertools.islice(opened, 2 * FRAMES))
        assert caplog.text.count(words) == 1


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_an_image_of_each_format_arrives_in_bgr(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    cv2.imwrite(str(path), red_and_blue())
    with open_source(CameraSettings(source=str(path))) as source:
        (frame,) = source
    assert frame.color == "BGR"
    assert frame.image[20, 10] == pytest.approx([0, 0, 255], abs=6)
    assert frame.image[20, 50] == pytest.approx([255, 0, 0], abs=6)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((5, 7), 90, np.uint8), [90, 90, 90]),
        (np.full((5, 7), 90 * 257, np.uint16), [90, 90, 90]),
        (red_and_blue(channels=4), [0, 0, 255]),
        (np.full((1, 1, 3), 7, np.uint8), [7, 7, 7]),
        (np.full((3, 10_000, 3), 7, np.uint8), [7, 7, 7]),
    ],
    ids=["grey", "grey 16 bit", "transparent", "1x1", "10000 wide"],
)
def test_unusual_images_become_ordinary_ones(tmp_path: Path, image: Image, expected: list[int]) -> None:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), image)
    with open_source(CameraSettings(source=str(path))) as source:
        (frame,) = source
    assert frame.image.shape == (*image.shape[:2], 3)
    assert frame.image.dtype == np.uint8
    assert frame.image[0, 0].tolist() == expected


def test_a_folder_is_read_in_the_order_of_its_numbers_and_a_bad_image_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"p{number}.png"), np.full((4, 4, 3), number, np.uint8))
    (tmp_path / "p3.png").write_bytes((tmp_path / "p10.png").read_bytes()[:60])
    (tmp_path / "notes.txt").write_text("not an image")
    with caplog.at_level(logging.WARNING), open_source(CameraSettings(source=str(tmp_path))) as source:
        frames = list(source)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 10]
    assert [frame.time_s for frame in frames] == [0, 1, 3]
    assert "p3.png" in caplog.text
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_orientation_is_stated_and_the_pixels_stay(tmp_path: Path, rotate: Degrees) -> None:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), red_and_blue(40, 60))
    with open_source(CameraSettings(source=str(path), rotate=rotate, mirror=True)) as source:
        (frame,) = source
    assert frame.orientation == Orientation(rotate, mirror=True)
    assert frame.image.shape == (40, 60, 3)
    assert (frame.width_px, frame.height_px) == ((40, 60) if rotate in (90, 270) else (60, 40))


def test_a_setting_for_another_kind_of_camera_is_said_to_be_idle(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_source(CameraSettings(source=str(clip), autofocus="off")) as source:
        next(source)
    assert "camera.autofocus has no effect" in caplog.text
    assert "camera.gain" not in caplog.text


BAD_SOURCES: dict[str, tuple[str, type[EdgePoseError]]] = {
    "missing": ("{folder}/missing.mp4", SourceNotFoundError),
    "empty": ("{folder}/empty.mp4", UnreadableMediaError),
    "text as video": ("{folder}/text.mp4", UnreadableMediaError),
    "text as image": ("{folder}/text.png", UnreadableMediaError),
    "folder without images": ("{folder}/nothing here", UnreadableMediaError),
    "too long": ("a" * 300, SourceError),
    "zero byte": ("a\0b", SourceNotFoundError),
    "no camera": ("/dev/video77", SourceNotFoundError),
    "not a camera": ("/dev/null", SourceError),
    "unknown scheme": ("gopher://host/cam", ConfigError),
    "nothing": ("", ConfigError),
    "refused": ("rtsp://me:hush@127.0.0.1:1/cam", SourceError),
    "unknown host": ("http://me:hush@nowhere.invalid/?pwd=hush", SourceError),
    "not a URL": ("http://[hush", SourceError),
    "impossible host": (f"rtsp://me:hush@{'h' * 70}/cam", SourceError),
    "slash in the password": ("rtsp://me:p@hush/hush:hush@127.0.0.1:1/cam", SourceError),
    "number sign in the password": ("rtsp://me:hush#hush@127.0.0.1:1/cam", SourceError),
    "mistyped URL": ("rtsp:/me:hush@127.0.0.1/cam", ConfigError),
    "URL without its scheme": ("me:hush@127.0.0.1/cam", ConfigError),
    "impossible name": ("n" * 300, SourceError),
    "link to itself": ("{folder}/loop.mp4", SourceError),
    "named pipe": ("{folder}/pipe.mp4", SourceError),
    "no picamera2": ("picamera2", MissingDependencyError),
}


@pytest.mark.parametrize("case", BAD_SOURCES)
def test_what_is_no_source_is_explained(case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("these are words\n" * 50)
    (tmp_path / "text.png").write_text("these are words\n" * 50)
    (tmp_path / "nothing here").mkdir()
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    given, error = BAD_SOURCES[case]
    with pytest.raises(error) as caught:
        open_source(CameraSettings(source=given.format(folder=tmp_path), open_timeout=5))
    message = str(caught.value)
    assert "hush" not in message
    assert len(message) > 30
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("rtsp://me:hush@host:554/cam", "rtsp://***@host:554/cam"),
        ("rtsp://me@host/cam", "rtsp://***@host/cam"),
        ("http://host/video?user=me&pwd=hush", "http://host/video?user=***&pwd=***"),
        ("rtsp://host/user=me&password=hush&channel=1.sdp", "rtsp://host/user=***&password=***&channel=1.sdp"),
        ("rtsp://me:hu@sh@host/cam", "rtsp://***@host/cam"),
        ("rtsp://me:hu%40sh@host/cam", "rtsp://***@host/cam"),
        ("rtsp://me:h@u/s?h#hush@host/cam", "rtsp://***@host/cam"),
        ("rtsp:/me:hush@host/cam", "***@host/cam"),
        ("me:hush@host:554/cam", "***@host:554/cam"),
        ("/media/me:there@home/walk.mp4", "/media/me:there@home/walk.mp4"),
        ("picamera2:/base/soc/i2c0mux/i2c@1/imx219@10", "picamera2:/base/soc/i2c0mux/i2c@1/imx219@10"),
        ("http://host/cam#hush", "http://host/cam"),
        ("clips/walk.mp4", "clips/walk.mp4"),
        ("picamera2:1", "picamera2:1"),
    ],
)
def test_credentials_are_not_shown(given: str, shown: str) -> None:
    assert redact(given) == shown
