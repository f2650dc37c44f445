"""One run of the loop in a process of its own, so that start-up, memory and processor time are the loop's alone.

`python -m edge.benchmark_child` reads a `Job` from standard input and writes a line of JSON now and then: `Progress`
while it runs, `Figures` or `Failure` at the end.
"""

import logging
import re
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from edge import health, streams
from edge.config import Settings
from edge.errors import EdgePoseError
from edge.estimator import Estimate
from edge.messages import PoseMessage
from edge.pipeline import WINDOW_FRAMES, Controls
from edge.pipeline import Figures as LoopFigures
from edge.pose import Frame, Pose
from edge.quality import QualityMeter
from edge.run import run_loop

PROGRESS_S: Final = 0.25
STALL_S: Final = 20.0
# Jitter and lag are measured over the last of so many frames.
QUALITY_FRAMES: Final = 900


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to run.

    Attributes:
        settings: of the loop.
        live: whether frames come at their own pace, read by a thread of their own.
        held_back: whether `pipeline.max_fps` holds, as in `run`; the question may be what the board can do.
        started_s: when the process was started, seconds since 1970.
        seconds: stop after so long, counted from the first frame; None is no limit.
        frames: stop after so many; None is no limit.
    """

    settings: Settings
    live: bool
    held_back: bool = True
    started_s: float = 0.0
    seconds: float | None = None
    frames: int | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """So far: processed frames, seconds since the first of them, and resident memory."""

    frames: int
    seconds: float
    rss_mb: float | None


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """An error of `edge.errors`: its class and its text."""

    kind: str
    text: str


class Figures(msgspec.Struct, frozen=True, kw_only=True, tag="figures"):
    """What was measured; see `edge.benchmark_result.Loop`. Processor time and seconds are those after frame 1."""

    frames: int
    with_people: int
    dropped: int
    published: int
    seconds: float
    cpu_s: float
    thread_cpu_s: float
    width: int
    height: int
    stage_ms: dict[str, list[float]]
    age_ms: list[float]
    latency_ms: list[float]
    without_detection: float | None
    jitter: float | None
    lag_ms: float | None
    peak_rss_mb: float | None
    first_pose_s: float | None


Line = Progress | Failure | Figures


class Meter:
    """Looks at each processed frame, from the loop's own thread."""

    def __init__(self, job: Job, controls: Controls) -> None:
        self.frames = 0
        self.dropped = 0
        self.capture_ms: list[float] = []
        self.first_pose_s: float | None = None
        self.size_px = (0, 0)
        self._job = job
        self._controls = controls
        self._first: tuple[float, float, float] | None = None
        self._last = (0.0, 0.0, 0.0)
        self._last_number = -1
        self._said_s = 0.0
        self._poses: deque[tuple[float, list[Pose]]] = deque(maxlen=QUALITY_FRAMES)

    def see(self, frame: Frame, estimate: Estimate) -> None:
        """Take note of a frame that is done, and end the loop when it is time."""
        self.frames += 1
        self._poses.append((frame.time_s, estimate.poses))
        self.dropped += max(0, frame.number - self._last_number - 1)
        self._last_number = frame.number
        if self._first is not None and not self._job.live:
            # A file is read between two frames; its frame is available as soon as it is decoded.
            self.capture_ms.append(max(0.0, frame.available_s - self._last[0]) * 1e3)
        self.size_px = (frame.width_px, frame.height_px)
        self._last = (time.monotonic(), time.process_time(), time.thread_time())
        self._first = self._first or self._last
        self._report(self.elapsed()[0])

    def _report(self, seconds: float) -> None:
        if seconds - self._said_s >= PROGRESS_S:
            self._said_s = seconds
            _say(Progress(frames=self.frames, seconds=seconds, rss_mb=health.rss_mb()))
        enough = self._job.frames is not None and self.frames >= self._job.frames
        if enough or (self._job.seconds is not None and seconds >= self._job.seconds):
            self._controls.stop.set()

    def hear(self, message: PoseMessage, _payload: bytes) -> None:
        """Take note of the first pose."""
        if self.first_pose_s is None and message.poses:
            self.first_pose_s = time.time() - self._job.started_s

    def quality(self) -> tuple[float | None, float | None]:
        """Median jitter in torsos and lag in ms; worked out at the end, so that no frame pays for it."""
        meter = QualityMeter()
        for time_s, poses in self._poses:
            meter.see(poses, time_s)
        jitter = round(median(meter.jitters), 5) if meter.jitters else None
        return jitter, round(median(meter.lags_s) * 1e3, 2) if meter.lags_s else None

    def elapsed(self) -> Sequence[float]:
        """Seconds, processor seconds, and processor seconds of the loop's thread, since the first frame was done."""
        return [last - first for last, first in zip(self._last, self._first or self._last, strict=True)]


def measure(job: Job) -> Figures:
    """Run the loop.

    Raises:
        EdgePoseError: as of `run`.
    """
    controls = Controls(max_fps=job.settings.pipeline.max_fps if job.held_back else 0.0)
    meter = Meter(job, controls)
    # A camera that stalls gives no frame by which the end could be noticed.
    limit_s = None if job.seconds is None else job.seconds + STALL_S
    # All of a run's frames count where their number is known; what has no end in frames must not grow.
    figures = LoopFigures(window=job.frames or WINDOW_FRAMES)
    run_loop(job.settings, controls, [meter.hear], observers=[meter.see], figures=figures, duration_s=limit_s)
    seconds, cpu_s, thread_cpu_s = meter.elapsed()
    jitter, lag_ms = meter.quality()
    stage_ms = {stage: list(samples) for stage, samples in figures.stage_ms.items()}
    if not job.live:
        stage_ms = {"capture": meter.capture_ms, **stage_ms}
    return Figures(
        frames=figures.frames,
        with_people=figures.frames_with_people,
        dropped=meter.dropped,
        published=figures.messages,
        seconds=seconds,
        cpu_s=cpu_s,
        thread_cpu_s=thread_cpu_s,
        width=meter.size_px[0],
        height=meter.size_px[1],
        stage_ms=stage_ms,
        age_ms=list(figures.age_ms),
        latency_ms=list(figures.latency_ms),
        without_detection=figures.share_without_detection(),
        jitter=jitter,
        lag_ms=lag_ms,
        peak_rss_mb=peak_rss_mb(),
        first_pose_s=meter.first_pose_s,
    )


def peak_rss_mb(status: Path = Path("/proc/self/status")) -> float | None:
    """The largest resident memory so far, in MB (1e6 bytes); None where the kernel does not tell.

    Not `getrusage`: its maximum is inherited from the process that started this one.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    except OSError:
        return None
    return round(int(found[1]) * 1024 / 1e6, 1) if found else None


def _say(line: Line) -> None:
    streams.write_stdout(msgspec.json.encode(line) + b"\n")
    if streams.stdout_is_lost():
        sys.exit(1)  # whoever asked has gone


def main() -> int:
    """Read the job, run it, write the lines."""
    streams.claim()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="edge-pose: %(levelname)s: %(message)s")
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        _say(measure(job))
    except EdgePoseError as error:
        _say(Failure(kind=type(error).__name__, text=str(error)))
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
