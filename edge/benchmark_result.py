"""What `edge-pose benchmark` measures, as types: written with `--json`, read again by `--compare`.

A file may gain fields within schema 1, so readers ignore fields that they do not know.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge import __version__
from edge.errors import UsageError

SCHEMA: Literal[1] = 1

NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Wall-clock milliseconds of one thing that was done `count` times.

    Attributes:
        count: how often it was measured.
        p50, p95, p99: percentiles.
    """

    count: Annotated[int, Meta(ge=1)]
    p50: NotNegative
    p95: NotNegative
    p99: NotNegative


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The board at one moment. Null is: this machine does not tell.

    Attributes:
        temperature_c: of the processor.
        throttled: what holds the processor back now; empty is nothing.
        throttled_before: what has held it back at some time since it was started.
        frequency_mhz: the highest of the cores' present frequencies.
        available_mb: memory that programs can still get.
    """

    temperature_c: float | None = None
    throttled: list[str] | None = None
    throttled_before: list[str] | None = None
    frequency_mhz: float | None = None
    available_mb: float | None = None


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and what is installed on it.

    Attributes:
        model: as the machine calls itself.
        processor: its cores' name.
        system: the operating system; `kernel` and `machine` are the kernel's version and architecture.
        bits: 32 or 64, of this Python, which is what counts for the models.
        cores: that this process may use.
        governors: frequency governors of the cores; null where there are none.
        memory_mb: all memory.
        python, runtime, packages: versions.
        before, after: the board's state at the start and at the end.
    """

    model: str
    processor: str
    system: str
    kernel: str
    machine: str
    bits: Literal[32, 64]
    cores: Annotated[int, Meta(ge=1)]
    governors: list[str] | None = None
    memory_mb: float | None = None
    python: str
    runtime: str
    packages: dict[str, str]
    before: State
    after: State


class ModelTimes(msgspec.Struct, frozen=True, kw_only=True):
    """One model by itself, invoked again and again.

    Attributes:
        name, precision: which model.
        threads: of the runtime.
        invoke_ms: a single invocation.
        cpu_ms: processor time of one invocation, all threads together.
    """

    name: str
    precision: str
    threads: Annotated[int, Meta(ge=1)]
    invoke_ms: Times
    cpu_ms: NotNegative


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """The whole loop on one source, in a process of its own, publishing to a broker that a subscriber reads.

    Attributes:
        name: `clip` (as fast as it goes), `paced` (the clip at its own rate, as from a camera) or `camera`.
        source: what was looked at; `details` is its size and rate.
        models: what ran, in words.
        threads: of the models.
        frames: processed frames; `with_people` of them showed somebody.
        dropped: frames of the source that nobody looked at.
        fps: processed frames per second.
        stage_ms: each stage, over the frames in which it ran. `capture` is decoding a frame of a clip; a camera's
            frames come in a thread of their own.
        age_ms: how old a frame was when its processing began; null for a clip that is not paced.
        cpu_ms_per_frame: processor time of the process per processed frame, everything included.
        thread_cpu_ms_per_frame: of that, the loop's own thread: without the camera's, the network's, and the
            runtime's further threads.
        without_detection: share of the frames with people in which the detector did not run; null without people.
        jitter: how much keypoints tremble, in torsos; lag_ms: how late smoothing makes them (`quality.PoseQuality`; the
            medians over the last 900 frames); null where nobody was seen, or nobody moved.
        latency_ms: capture to message made, as the messages themselves say; of a clip from the decoded frame.
        arrival_ms: capture to the subscriber; null where capture has no clock (a clip that is not paced).
        published, arrived: pose messages. At a live source a frame on which a search took long has none: the next one
            says whom it found.
        peak_rss_mb: largest resident memory of the process; null where the kernel does not tell.
        first_pose_s: from starting the process to its first pose; null without people.
    """

    name: Literal["clip", "paced", "camera"]
    source: str
    details: str
    models: str
    threads: Annotated[int, Meta(ge=1)]
    frames: Count
    with_people: Count
    dropped: Count
    fps: NotNegative
    stage_ms: dict[str, Times]
    age_ms: Times | None = None
    cpu_ms_per_frame: NotNegative
    thread_cpu_ms_per_frame: NotNegative
    without_detection: Share | None = None
    jitter: float | None = None
    lag_ms: float | None = None
    latency_ms: Times | None = None
    arrival_ms: Times | None = None
    published: Count
    arrived: Count
    peak_rss_mb: float | None = None
    first_pose_s: float | None = None


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A few seconds of the sustained run, ending `time_s` after its start. Null is: this machine does not tell."""

    time_s: NotNegative
    fps: NotNegative
    temperature_c: float | None = None
    frequency_mhz: float | None = None
    throttled: list[str] | None = None


class Sustained(msgspec.Struct, frozen=True, kw_only=True):
    """The loop as fast as it goes, or as `pipeline.max_fps` lets it, for long enough to get warm.

    Attributes:
        duration_s: how long.
        moments: in order.
        slowdown: by which share the last quarter's rate was below the first quarter's; 0 where it was not.
        throttled: what held the processor back at any moment of it; null where this machine does not tell.
        rss_growth_mb: growth of resident memory from the first quarter's end to the end; null if unknown.
    """

    duration_s: NotNegative
    moments: list[Moment]
    slowdown: Share
    throttled: list[str] | None = None
    rss_growth_mb: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run of `edge-pose benchmark`.

    Attributes:
        benchmark: `edge-pose`, so that a reader knows what it reads.
        schema: 1.
        version: of edge-pose.
        time: start, seconds since 1970.
        quick: a short run that tries everything; its figures are not to be published.
        broker: in words.
        warnings: why the figures may be lower than what the board can do.
    """

    benchmark: Literal["edge-pose"] = "edge-pose"
    schema: Literal[1] = SCHEMA
    version: str = __version__
    time: float
    quick: bool
    broker: str
    board: Board
    models: list[ModelTimes]
    loops: list[Loop]
    sustained: Sustained
    warnings: list[str]


def document(result: Result) -> bytes:
    """A result as `--json` writes it."""
    return msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n"


def read(path: Path) -> Result:
    """Read a result that `--json` wrote.

    Raises:
        UsageError: no such file, or not a result of this schema.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read: {error.strerror}; expected a file that `edge-pose benchmark --json` wrote"
        ) from None
    try:
        return msgspec.json.decode(data, type=Result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not a result of `edge-pose benchmark --json`, schema {SCHEMA}: {error}") from None
