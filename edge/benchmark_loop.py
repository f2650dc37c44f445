"""The loop on a clip or a camera: runs it in a process of its own, reads the broker, and puts the figures together."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from edge import errors
from edge.benchmark_board import Machine
from edge.benchmark_child import Failure, Figures, Job, Line, Progress
from edge.benchmark_models import times
from edge.benchmark_result import Loop, Moment, Sustained
from edge.camera import redact
from edge.config import MqttSettings, Settings
from edge.errors import BrokerError, EdgePoseError
from edge.messages import decode_pose
from edge.subscriber import Subscriber
from edge.topics import Topics

CONNECT_TIMEOUT_S: Final = 10.0
# Messages that are still on their way when the loop has ended may take this long.
LAST_MESSAGE_S: Final = 0.5
END_TIMEOUT_S: Final = 10.0
# The sustained run is drawn in so many points, none shorter than a second.
MOMENTS: Final = 60

Name = Literal["clip", "paced", "camera"]


@dataclass(frozen=True, slots=True)
class Reader:
    """Receives the pose messages of one run, as an application would, and notes how long each one took."""

    subscriber: Subscriber
    ending: threading.Event
    arrival_ms: list[float]

    def run(self) -> None:
        """Receive until `ending` is set and nothing more comes."""
        while True:
            ending = self.ending.is_set()
            received = self.subscriber.get(LAST_MESSAGE_S if ending else 0.1)
            if received is not None:
                now_s = time.time()
                self.arrival_ms.append((now_s - decode_pose(received.payload).time) * 1e3)
            elif ending:
                return


@contextmanager
def reading(mqtt: MqttSettings) -> Iterator[Reader]:
    """A subscriber that is connected before the loop starts and reads until its last message.

    Raises:
        BrokerError: it cannot subscribe.
    """
    with Subscriber(mqtt, [Topics.of(mqtt).pose]) as subscriber:
        if not subscriber.subscribed.wait(CONNECT_TIMEOUT_S):
            raise BrokerError(f"{mqtt.broker}: no answer to a subscription: {subscriber.state.detail or 'silence'}")
        reader = Reader(subscriber, threading.Event(), [])
        thread = threading.Thread(target=reader.run, name="benchmark-reader", daemon=True)
        thread.start()
        try:
            yield reader
        finally:
            reader.ending.set()
            thread.join()


def run_child(job: Job, hear: Callable[[Progress], None]) -> Figures:
    """Run a job in a process of its own.

    Args:
        job: what to run.
        hear: told of its progress.

    Raises:
        EdgePoseError: as in the child.
    """
    command = (sys.executable, "-m", "edge.benchmark_child")
    # Ctrl-C is for this process, which ends the child: interrupted by itself the child would complain of it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdin is not None  # noqa: S101 -- both are pipes; this tells the type checker
        assert process.stdout is not None  # noqa: S101
        try:
            with contextlib.suppress(BrokenPipeError):  # a child that died at once; its status is reported below
                process.stdin.write(msgspec.json.encode(msgspec.structs.replace(job, started_s=time.time())))
                process.stdin.close()
            for text in process.stdout:
                line = msgspec.json.decode(text, type=Line)
                if isinstance(line, Progress):
                    hear(line)
                else:
                    return _figures(line)
        finally:
            _end(process)
    raise EdgePoseError(f"the loop's process ended with status {process.returncode} and without figures")


def _figures(line: Failure | Figures) -> Figures:
    if isinstance(line, Failure):
        raise getattr(errors, line.kind, EdgePoseError)(line.text)
    return line


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let a child that has said everything end; stop one that has not."""
    try:
        process.wait(END_TIMEOUT_S if sys.exc_info()[0] is None else 0)
    except subprocess.TimeoutExpired:
        process.kill()


@dataclass(frozen=True, slots=True)
class Loops:
    """Measures the loop.

    Attributes:
        settings: of the loop, less its source.
        mqtt: how to reach the broker.
        models: what runs, in words.
        say: told what is being done.
    """

    settings: Settings
    mqtt: MqttSettings
    models: str
    say: Callable[[str], None]

    def measure(self, name: Name, source: str, *, frames: int | None = None, seconds: float | None = None) -> Loop:
        """One run over so many frames, or for so long.

        Raises:
            EdgePoseError: the source, a model or the broker fails.
        """
        settings = self._settings(source, paced=name == "paced")
        live = name != "clip"
        job = Job(settings=settings, live=live, held_back=live, frames=frames, seconds=seconds)
        with reading(self.mqtt) as reader:
            figures = run_child(job, lambda seen: self.say(_so_far(name, seen)))
        return self._loop(name, source, figures, reader.arrival_ms)

    def sustain(self, source: str, seconds: float, machine: Machine) -> Sustained:
        """The clip again and again as fast as `pipeline.max_fps` lets it go, with the machine watched.

        Raises:
            EdgePoseError: the source, a model or the broker fails.
        """
        job = Job(settings=self._settings(source, paced=False), live=False, seconds=seconds)
        watch = Watch(machine, max(1.0, seconds / MOMENTS), self.say)
        with reading(self.mqtt):
            figures = run_child(job, watch.hear)
        return watch.summary(figures.seconds)

    def _settings(self, source: str, *, paced: bool) -> Settings:
        camera = msgspec.structs.replace(self.settings.camera, source=source, loop=True, realtime=paced)
        return msgspec.structs.replace(self.settings, camera=camera, mqtt=self.mqtt)

    def _loop(self, name: Name, source: str, figures: Figures, arrival_ms: list[float]) -> Loop:
        later = max(figures.frames - 1, 1)  # the first frame starts the clock
        stages = {stage: times(samples) for stage, samples in figures.stage_ms.items()}
        return Loop(
            name=name,
            source=redact(source),
            details=f"{figures.width}x{figures.height}",
            models=self.models,
            threads=self.settings.model.threads,
            frames=figures.frames,
            with_people=figures.with_people,
            dropped=figures.dropped,
            fps=round(later / figures.seconds, 2) if figures.seconds else 0.0,
            stage_ms={stage: measured for stage, measured in stages.items() if measured},
            age_ms=None if name == "clip" else times(figures.age_ms),
            cpu_ms_per_frame=round(figures.cpu_s * 1e3 / later, 3),
            thread_cpu_ms_per_frame=round(figures.thread_cpu_s * 1e3 / later, 3),
            without_detection=figures.without_detection,
            jitter=figures.jitter,
            lag_ms=figures.lag_ms,
            latency_ms=times(figures.latency_ms),
            # A clip that is not paced has time stamps of its own, far from this machine's clock.
            arrival_ms=None if name == "clip" else times([max(0.0, value) for value in arrival_ms]),
            published=figures.published,
            arrived=len(arrival_ms),
            peak_rss_mb=figures.peak_rss_mb,
            first_pose_s=figures.first_pose_s,
        )


def _so_far(name: str, seen: Progress) -> str:
    return f"{name}: {seen.frames} frames, {seen.frames / max(seen.seconds, 1e-3):.1f} per second"


class Watch:
    """Turns the progress of a sustained run into its moments."""

    def __init__(self, machine: Machine, interval_s: float, say: Callable[[str], None]) -> None:
        self.moments: list[Moment] = []
        self._machine = machine
        self._interval_s = interval_s
        self._say = say
        self._rss_mb: list[float | None] = []
        self._last = Progress(frames=1, seconds=0.0, rss_mb=None)

    def hear(self, seen: Progress) -> None:
        """Take note of how far the run is."""
        elapsed_s = seen.seconds - self._last.seconds
        if elapsed_s < self._interval_s:
            return
        state = self._machine.state()
        moment = Moment(
            time_s=round(seen.seconds, 2),
            fps=round((seen.frames - self._last.frames) / elapsed_s, 2),
            temperature_c=state.temperature_c,
            frequency_mhz=state.frequency_mhz,
            throttled=state.throttled,
        )
        self.moments.append(moment)
        self._rss_mb.append(seen.rss_mb)
        self._last = seen
        warmth = "" if moment.temperature_c is None else f", {moment.temperature_c:.1f} °C"
        self._say(f"sustained: {moment.time_s:.0f} s, {moment.fps:.1f} frames per second{warmth}")

    def summary(self, duration_s: float) -> Sustained:
        """All of it."""
        quarter = max(1, len(self.moments) // 4)
        rates = [moment.fps for moment in self.moments]
        first, last = (sum(part) / max(len(part), 1) for part in (rates[:quarter], rates[-quarter:]))
        known = [moment.throttled for moment in self.moments if moment.throttled is not None]
        words = dict.fromkeys(word for words in known for word in words)
        before, after = (self._rss_mb[quarter - 1], self._rss_mb[-1]) if self._rss_mb else (None, None)
        return Sustained(
            duration_s=round(duration_s, 2),
            moments=self.moments,
            slowdown=round(max(0.0, 1 - last / first), 4) if first else 0.0,
            throttled=list(words) if known else None,
            rss_growth_mb=None if before is None or after is None else round(after - before, 1),
        )
