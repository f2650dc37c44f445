"""One contestant in a process of its own: told over standard input what to do, answers with a line of JSON.

Nothing of the project is imported here: MediaPipe's processes run this too, in environments of their own.

    {"block": 30}   decode and process the next 30 frames of the clip, one by one, as a camera hands them over: fresh;
                    answers processor seconds of the processing alone, as the operating system counts them for all
                    threads of this process
    {"bare": 30}    decode 30 frames, and after each invoke the landmark model by itself; answers processor seconds of
                    that. Decoding takes the caches from both, the loop and the model by itself.
    {"empty": 90, "picture": PATH}  process 90 frames of a picture without people under a camera's noise; answers
                    processor seconds, and in how many somebody was found nevertheless
    {"memory": 60}  process 60 frames, one decoded at a time; answers the process's largest resident memory
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

# Threads that publish or clean up may have work left when a frame is done; it is counted too.
SETTLE_S = 0.003

# After a clip's start, so many frames are for finding people.
FOLLOW = 10
# A picture without people: its noise (standard deviation, of 255), how many different ones, frames before counting.
NOISE, DIFFERENT_PICTURES, FORGET = 3.0, 10, 60

Image = NDArray[np.uint8]


class Engine(Protocol):
    """What is measured. `rgb`: whether it wants its pictures so; turning them is not counted against it."""

    rgb: bool

    def process(self, frames: Iterator[tuple[Image, float]]) -> int:
        """Find people in frames that follow each other, each with its time in seconds, taking them one by one.

        Returns:
            In how many frames somebody was found.
        """

    def bare(self) -> None:
        """Invoke the landmark model by itself, once."""


def _capture(path: str) -> cv2.VideoCapture:
    """Decoding without threads of its own, so that nothing is decoded while a frame is measured."""
    return cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


class Clip:
    """A clip's frames, again and again, with a time that goes on."""

    def __init__(self, path: str, *, rgb: bool) -> None:
        self._path = path
        self._rgb = rgb
        self._capture = _capture(path)
        self._interval_s = 1 / (self._capture.get(cv2.CAP_PROP_FPS) or 30.0)
        self._number = 0

    def anew(self) -> Self:
        """The same clip from its start, for itself."""
        return type(self)(self._path, rgb=self._rgb)

    def start_anew(self, frames: int) -> bool:
        """Go back to the clip's start unless it has so many frames left; returns whether it did."""
        left = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) - self._capture.get(cv2.CAP_PROP_POS_FRAMES)
        if left >= frames:
            return False
        self._capture = _capture(self._path)
        return True

    def pass_time(self, frames: int) -> float:
        """Let so many frames' time go by; returns the time before."""
        self._number += frames
        return (self._number - frames) * self._interval_s

    def read(self) -> tuple[Image, float]:
        """The next frame and its time in seconds."""
        more, image = self._capture.read()
        if not more:
            self._capture = _capture(self._path)
            more, image = self._capture.read()
        if not more:
            sys.exit(f"{self._path}: no frame can be decoded")
        self._number += 1
        if self._rgb:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return np.ascontiguousarray(image, dtype=np.uint8), self._number * self._interval_s


class RawClip:
    """A file of frames without compression, each read into the same memory: what a camera hands over costs no more."""

    def __init__(self, path: str, *, rgb: bool) -> None:
        # NAME-WIDTHxHEIGHT.bgr
        self._path = path
        width, height = map(int, Path(path).stem.rsplit("-", 1)[1].split("x"))
        self._file = Path(path).open("rb")  # noqa: SIM115 -- open for as long as the process lives
        self._image = np.empty((height, width, 3), np.uint8)
        self._rgb = rgb
        self._number = 0

    def anew(self) -> Self:
        """As of `Clip`."""
        return type(self)(self._path, rgb=self._rgb)

    def pass_time(self, frames: int) -> float:
        """As of `Clip`."""
        self._number += frames
        return (self._number - frames) / 30

    def read(self) -> tuple[Image, float]:
        """As of `Clip`, at 30 frames per second."""
        if self._file.readinto(memoryview(self._image).cast("B")) < self._image.nbytes:
            self._file.seek(0)
            self._file.readinto(memoryview(self._image).cast("B"))
        self._number += 1
        if self._rgb:
            cv2.cvtColor(self._image, cv2.COLOR_BGR2RGB, dst=self._image)
        return self._image, self._number / 30


class Metered:
    """So many frames of a clip, and the processor time from when each is taken until the next is asked for."""

    def __init__(self, frames: Clip | RawClip, count: int) -> None:
        self.cpu_s = 0.0
        self._frames, self._left = frames, count
        self._since_s: float | None = None

    def __iter__(self) -> Iterator[tuple[Image, float]]:
        return self

    def __next__(self) -> tuple[Image, float]:
        if self._since_s is not None:
            time.sleep(SETTLE_S)
            self.cpu_s += time.process_time() - self._since_s
            self._since_s = None
        if not self._left:
            raise StopIteration
        self._left -= 1
        found = self._frames.read()
        self._since_s = time.process_time()
        return found


def peak_rss_mb() -> float:
    """This process's largest resident memory so far, in MB (1e6 bytes)."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def serve(clip: str, started_s: float, make: Callable[[], Engine]) -> None:
    """Answer until standard input ends. The first answer is the time from the process's start to its first pose."""
    engine = make()
    frames: Clip | RawClip = (RawClip if clip.endswith(".bgr") else Clip)(clip, rgb=engine.rgb)
    found = 0
    while not found:
        found = engine.process(iter([frames.read()]))
    _answer({"first_pose_s": time.time() - started_s})
    for line in sys.stdin:
        (what, count), *more = json.loads(line).items()
        _answer(
            {"block": _block, "bare": _bare, "empty": _empty, "memory": _memory}[what](engine, frames, count, *more)
        )


def _block(engine: Engine, frames: Clip | RawClip, count: int) -> dict[str, Any]:
    if isinstance(frames, Clip) and frames.start_anew(count):
        # People are somewhere else now and are detected again; only frames in which they are followed count.
        engine.process(Metered(frames, FOLLOW))
    metered = Metered(frames, count)
    found = engine.process(metered)
    return {"cpu_s": metered.cpu_s, "frames": count, "found": found}


def _bare(engine: Engine, frames: Clip | RawClip, count: int) -> dict[str, Any]:
    others, cpu_s = frames.anew(), 0.0
    for _ in range(count):
        others.read()
        start_s = time.process_time()
        engine.bare()
        cpu_s += time.process_time() - start_s
    return {"cpu_s": cpu_s, "frames": count}


def _empty(engine: Engine, frames: Clip | RawClip, count: int, picture: tuple[str, str]) -> dict[str, Any]:
    still = cv2.resize(cv2.imread(picture[1]), (1280, 720), interpolation=cv2.INTER_AREA)
    random = np.random.default_rng(0)
    noisy = [
        (still + random.normal(0, NOISE, still.shape)).clip(0, 255).astype(np.uint8) for _ in range(DIFFERENT_PICTURES)
    ]
    start_s = frames.pass_time(2 * (FORGET + count))
    # Whoever was followed is lost, and a motion detector sees how noisy this camera is, before anything is counted.
    _show(engine, noisy, start_s, FORGET)
    start_cpu_s = time.process_time()
    found = _show(engine, noisy, start_s + FORGET / 30, count)
    time.sleep(SETTLE_S)
    return {"cpu_s": time.process_time() - start_cpu_s, "frames": count, "found": found}


def _show(engine: Engine, pictures: Sequence[Image], start_s: float, count: int) -> int:
    """Show pictures in turn at 30 frames per second of the clip's time; returns how many had people."""
    return engine.process((pictures[number % len(pictures)], start_s + (number + 1) / 30) for number in range(count))


def _memory(engine: Engine, frames: Clip | RawClip, count: int) -> dict[str, Any]:
    engine.process(frames.read() for _ in range(count))
    return {"peak_rss_mb": peak_rss_mb()}


def _answer(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
