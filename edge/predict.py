"""Poses of pictures, or of each frame of a video, without a broker: the command `predict`."""

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.camera import check_form, open_source
from edge.camera_source import Source
from edge.config import Settings
from edge.draw import draw_poses, upright_bgr, write_picture
from edge.errors import ConfigError, EdgePoseError, UsageError
from edge.estimator import PoseEstimator
from edge.messages import PoseEntry, pose_entry
from edge.output import check_file, write_file
from edge.pose import Frame, Pose
from edge.quality import PoseQuality, QualityMeter
from edge.streams import as_utf8, complain, write_stdout


class FrameResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `predict --json` says of one picture or video frame. Names of files are written as by `as_utf8`.

    Attributes:
        frame: its number.
        time: seconds.
        file: of a folder of pictures, which one it is.
        poses: the people in it.
        quality: of each of them, in a video: how much the keypoints tremble, and how late they are.
    """

    frame: int
    time: float
    poses: list[PoseEntry]
    file: str = ""
    quality: list[PoseQuality] = []


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go: a JSON file (`-` is standard output) and a folder for pictures; None is nowhere."""

    json_file: str | None = None
    draw_directory: Path | None = None


class PathResult:
    """What is kept of a path's frames: what its summary needs, and their JSON if that is asked for.

    An hour of film as Python objects is a gigabyte.

    Attributes:
        frames: how many there are.
        occupied: in how many of them somebody is.
        scores: of the people in the first one.
        encoded: each frame's `FrameResult`; empty without JSON.
    """

    def __init__(self, *, with_json: bool) -> None:
        self.frames = self.occupied = 0
        self.scores: list[float] = []
        self.encoded: list[msgspec.Raw] = []
        self._with_json = with_json

    def add(self, result: FrameResult) -> None:
        """Take note of the next frame."""
        if not self.frames:
            self.scores = [entry.score for entry in result.poses]
        self.frames += 1
        self.occupied += bool(result.poses)
        if self._with_json:
            self.encoded.append(msgspec.Raw(msgspec.json.encode(result)))

    def __str__(self) -> str:
        if self.frames == 1:
            scores = ", ".join(f"score {score:.2f}" for score in self.scores)
            return _people(len(self.scores)) + (f" ({scores})" if scores else "")
        return f"{self.frames} frames, somebody in {self.occupied} of them"


def predict(paths: Sequence[str], settings: Settings, outputs: Outputs) -> int:
    """Find the poses of every path and write them out.

    A path that cannot be read is reported and the others are still done.

    Returns:
        Exit status: 0, or not where a path failed or a picture could not be written.

    Raises:
        UsageError: an output that cannot be written; found before any work is done.
        ModelError, MissingDependencyError: a model or runtime that cannot be loaded.
    """
    _check_outputs(outputs)
    # Every picture and frame is searched, also one in which nothing has moved.
    thorough = msgspec.structs.replace(settings.tracker, idle_fps=0.0)
    estimator = PoseEstimator(msgspec.structs.replace(settings, tracker=thorough))
    results: dict[str, PathResult] = {}
    status = 0
    names = _picture_names(paths)
    drawer = Drawer(outputs.draw_directory)
    for path, name in zip(paths, names, strict=True):
        result = results[path] = PathResult(with_json=bool(outputs.json_file))
        try:
            meter = QualityMeter()
            for source, frame, poses in _poses_of(path, settings, estimator):
                entries = [pose_entry(pose, frame, world=settings.pipeline.world) for pose in poses]
                quality = [] if source.pictures or not outputs.json_file else meter.see(poses, frame.time_s)
                file = as_utf8(source.file)
                result.add(FrameResult(frame.number, round(frame.time_s, 6), entries, file, quality))
                drawer.draw(name, frame, poses)
        except EdgePoseError as error:
            complain(str(error))
            status = error.exit_status
            if not result.frames:
                del results[path]  # nothing is known of it, which is not that nobody is there
                continue
        if outputs.json_file != "-":
            print(f"{path}: {result}")
    if outputs.json_file:
        _write_json(outputs.json_file, results)
    return status or int(bool(drawer.failed))


def _poses_of(path: str, settings: Settings, estimator: PoseEstimator) -> Iterator[tuple[Source, Frame, list[Pose]]]:
    try:
        check_form(path)
    except ConfigError as error:  # nobody configured it
        raise UsageError(str(error)) from None
    camera = msgspec.structs.replace(settings.camera, source=path, loop=False, realtime=False)
    estimator.forget()
    with open_source(camera) as source:
        if source.live:
            raise UsageError(f"{path}: predict takes pictures, folders and video files; for a live source use run")
        for frame in source:
            yield source, frame, estimator.process(frame, alone=source.pictures).poses


def _check_outputs(outputs: Outputs) -> None:
    if outputs.json_file and outputs.json_file != "-":
        check_file(Path(outputs.json_file), "--json")
    if outputs.draw_directory:
        _make_folder(outputs.draw_directory)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        kind = EdgePoseError if error.errno in (errno.ENOSPC, errno.EDQUOT) else UsageError
        raise kind(f"--draw {folder}: the folder cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--draw {folder}: the folder cannot be written")


def _picture_names(paths: Sequence[str]) -> list[str]:
    """A name for each path's pictures; two paths never share one."""
    names: dict[str, None] = {}  # in the order of the paths, and quick to look up
    for path in paths:
        name = stem = Path(path.rstrip("/")).stem or "picture"
        number = 1
        while name in names:  # also by a path whose own name ends in a number
            number += 1
            name = f"{stem}-{number}"
        names[name] = None
    return list(names)


class Drawer:
    """Writes pictures into a folder, if there is one. One that fails is said, and costs nothing else that is found.

    Attributes:
        failed: of which films or pictures something could not be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.failed: set[str] = set()
        self._folder = folder

    def draw(self, name: str, frame: Frame, poses: list[Pose]) -> None:
        """Draw the people of a frame of the film or picture that goes by this name."""
        if self._folder is None:
            return
        picture = upright_bgr(frame)
        draw_poses(picture, poses)
        try:
            write_picture(self._folder / f"{name}-{frame.number:06d}.jpg", picture)
        except EdgePoseError as error:
            if name not in self.failed:  # once, not for every frame of a film
                complain(f"--draw: {error}")
            self.failed.add(name)


def _people(number: int) -> str:
    return {0: "nobody", 1: "1 person"}.get(number, f"{number} people")


def _write_json(target: str, results: dict[str, PathResult]) -> None:
    document = msgspec.json.encode({as_utf8(path): result.encoded for path, result in results.items()}) + b"\n"
    if target == "-":
        write_stdout(document)
    else:
        write_file(Path(target), document)
