"""What many tests need: the sample clip, models, and frames made of nothing."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import cv2
import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from edge import sample
from edge.config import Settings
from edge.config_load import load
from edge.errors import SourceError
from edge.manifest import ModelStore
from edge.pose import Frame

# Deadlines measure the machine, not the code; derandomized, so that a red run means a change.
hypothesis.settings.register_profile("edge-pose", deadline=None, derandomize=True)
hypothesis.settings.load_profile("edge-pose")


@pytest.fixture(scope="session")
def clip() -> Path:
    """The sample clip: 230 frames, 1768x994, 30 fps, two people outdoors."""
    try:
        return sample.clip_path()
    except SourceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def clip_frames(clip: Path) -> list[NDArray[np.uint8]]:
    """Every third frame of the sample clip, BGR; all of them would take 1.2 GB."""
    return [image for number, image in enumerate(read_clip(clip)) if number % 3 == 0]


def read_clip(clip: Path) -> Iterator[NDArray[np.uint8]]:
    """The clip's frames in order, read by OpenCV alone, without our own camera code."""
    capture = cv2.VideoCapture(str(clip))
    try:
        while True:
            more, image = capture.read()
            if not more:
                return
            yield np.asarray(image, dtype=np.uint8)
    finally:
        capture.release()


@pytest.fixture(scope="session")
def person(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of one person, 868x744."""
    path = tmp_path_factory.mktemp("person") / "person.png"
    image = next(image for number, image in enumerate(read_clip(clip)) if number == 60)
    cv2.imwrite(str(path), image[250:994, 900:1768])
    return path


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A device that is always full. Root gets one of its own: a mistake must not cost the machine its /dev/full."""
    if os.geteuid() != 0:
        return Path("/dev/full")
    path = tmp_path / "full"
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    return path


@pytest.fixture(scope="session")
def store() -> ModelStore:
    return ModelStore()


def settings(**overrides: object) -> Settings:
    """Settings by `section__key=value`, untouched by the machine's own configuration."""
    named = {name.replace("__", "."): value for name, value in overrides.items()}
    return load(overrides=named, environment={}).settings


def frame(image: NDArray[np.uint8], time_s: float = 0.0, **more: object) -> Frame:
    return Frame(image, time_s=time_s, epoch_s=time_s, available_s=0.0, **more)  # type: ignore[arg-type]
