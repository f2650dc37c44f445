"""The loop: a source's frames through the estimator to whoever wants the messages, with figures kept on the way."""

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import Final

from edge.camera import Source
from edge.estimator import Estimate, PoseEstimator
from edge.messages import PoseMessage, encode, pose_message
from edge.pose import Frame

# The stop event is looked at this often while no frame comes.
POLL_S: Final = 0.25
# Unless told otherwise figures are kept of this many frames: a minute at 30 frames per second.
WINDOW_FRAMES: Final = 1800
# A live source's frame on which the search took longer than this share of the time between two is not told of: the next
# one is nearer, fresh, and says the same. After so many seconds of that an old one is better than silence.
SEARCH_SHARE: Final = 0.5
HOLD_BACK_S: Final = 5.0


@dataclass(slots=True)
class Figures:
    """What the loop has done so far, and how fast lately.

    Attributes:
        frames: processed frames.
        frames_with_people: of those, frames in which somebody was found.
        frames_detected: of those with people, frames on which the detector ran.
        detector_runs: all frames on which the detector ran.
        messages: messages made.
        latency_ms: capture to message, of the last frames.
        age_ms: how old a frame was when its processing began, of the last frames.
        stage_ms: wall-clock milliseconds of each stage, of the last frames in which it ran.
        window: how many the last ones are, of frames and of messages.
    """

    frames: int = 0
    frames_with_people: int = 0
    frames_detected: int = 0
    detector_runs: int = 0
    messages: int = 0
    window: int = WINDOW_FRAMES
    latency_ms: deque[float] = field(init=False)
    age_ms: deque[float] = field(init=False)
    stage_ms: dict[str, deque[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make room for the last ones."""
        self.latency_ms, self.age_ms = deque(maxlen=self.window), deque(maxlen=self.window)

    def share_without_detection(self) -> float | None:
        """Share of the frames with people for which the detector did not have to run; None before the first."""
        if not self.frames_with_people:
            return None
        return 1.0 - self.frames_detected / self.frames_with_people

    def count(self, estimate: Estimate, age_s: float) -> None:
        """Take note of one processed frame."""
        self.frames += 1
        self.detector_runs += estimate.detector_ran
        if estimate.poses:
            self.frames_with_people += 1
            self.frames_detected += estimate.detector_ran
        self.age_ms.append(age_s * 1e3)
        for stage, elapsed_ms in estimate.stage_ms.items():
            self.stage_ms.setdefault(stage, deque(maxlen=self.window)).append(elapsed_ms)


@dataclass(slots=True)
class Controls:
    """What may be changed from outside, from any thread, while the loop runs.

    Attributes:
        stop: set it to end the loop.
        enabled: a loop that is not enabled takes frames and throws them away.
        max_fps: processed frames per second at most; 0 is no limit.
        redetect: set it to drop everybody and search anew; the loop clears it.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    enabled: bool = True
    max_fps: float = 0.0
    redetect: threading.Event = field(default_factory=threading.Event)


class Pipeline:
    """Runs frames through the estimator and hands messages on.

    Args:
        device: the device's name, as published.
        source: an open source.
        estimator: finds the people.
        consumers: called with each message and its JSON, in this thread; they must not block.
        observers: called with each processed frame and what was found, for pictures.
        tick: called at every turn of the loop, also when no frame came.
        controls: what may be changed from outside.
        figures: where figures are kept.
        world: whether messages carry world coordinates.
    """

    def __init__(
        self,
        device: str,
        source: Source,
        estimator: PoseEstimator,
        consumers: Sequence[Callable[[PoseMessage, bytes], None]],
        *,
        observers: Sequence[Callable[[Frame, Estimate], None]] = (),
        tick: Callable[[], None] = lambda: None,
        controls: Controls | None = None,
        figures: Figures | None = None,
        world: bool = False,
    ) -> None:
        self.figures = figures or Figures()
        self.controls = controls or Controls()
        self._device = device
        self._source = source
        self._estimator = estimator
        self._consumers = consumers
        self._observers = observers
        self._tick = tick
        self._world = world
        self._somebody = False
        self._told_s = monotonic()
        self._before = 0, -math.inf
        self._due_s = 0.0

    def run(self, duration_s: float | None = None) -> Figures:
        """Go on until the source ends, `controls.stop` is set or the time is up.

        Raises:
            SourceError: the source failed for good.
            ModelError: a model failed.
        """
        end_s = float("inf") if duration_s is None else monotonic() + duration_s
        while not self.controls.stop.is_set() and monotonic() < end_s:
            self._tick()
            self._wait_for_turn(end_s)
            frame = self._source.read(timeout_s=POLL_S)
            if frame is None:
                if self._source.ended:
                    break
            elif self.controls.enabled:
                self._process(frame)
            else:
                self._rest(frame)
            del frame  # its memory takes the next one
        return self.figures

    def _wait_for_turn(self, end_s: float) -> None:
        """Sleep, rather than spin, until `max_fps` allows the next frame; it may be changed meanwhile."""
        # Read once a turn: another thread may set it to 0 between a comparison and a division.
        while (max_fps := self.controls.max_fps) > 0 and not self.controls.stop.is_set():
            self._due_s = min(self._due_s, monotonic() + 1.0 / max_fps)
            left_s = min(self._due_s, end_s) - monotonic()
            if left_s <= 0:
                # From the moment that was due, not from now: else each wake-up that comes late lowers the rate.
                interval_s = 1.0 / max_fps
                self._due_s = max(self._due_s, monotonic() - interval_s) + interval_s
                return
            self._tick()
            self.controls.stop.wait(min(left_s, POLL_S))

    def _rest(self, frame: Frame) -> None:
        """A frame while the loop is switched off: nobody is followed over it, and readers are told that they left."""
        self._estimator.forget()
        self._tell(frame, Estimate())

    def _process(self, frame: Frame) -> None:
        if self.controls.redetect.is_set():
            self.controls.redetect.clear()
            self._estimator.forget()
        age_s = monotonic() - frame.available_s
        if self._source.pictures:
            estimate = self._estimator.process(frame, alone=True)
        else:
            estimate = self._estimator.follow(frame)
        # Searching takes several looks: tens of milliseconds, on a slow board tenths of a second. At a live source
        # those who are held do not wait for it, and whoever is found by it is told of with the next frame.
        told = self._source.live and bool(estimate.poses)
        if told:
            self._tell(frame, estimate)
        if estimate.search_due:
            self._estimator.search(frame, estimate)
        if not told and not (estimate.detector_ran and self._outdated(frame)):
            self._tell(frame, estimate)
        self._before = frame.number, frame.available_s
        self.figures.count(estimate, age_s)
        for observe in self._observers:
            observe(frame, estimate)

    def _outdated(self, frame: Frame) -> bool:
        """Whether the next frame will be there sooner than this one was, and it is not long since one was told of."""
        number, available_s = self._before
        interval_s = (frame.available_s - available_s) / max(frame.number - number, 1)
        if (max_fps := self.controls.max_fps) > 0:
            interval_s = max(interval_s, 1.0 / max_fps)
        now_s = monotonic()
        late = now_s - frame.available_s > SEARCH_SHARE * interval_s
        return self._source.live and late and now_s - self._told_s < HOLD_BACK_S

    def _tell(self, frame: Frame, estimate: Estimate) -> None:
        """Publish who is there. That nobody is, is said once, when the last one leaves: an empty room is silent."""
        if estimate.poses or self._somebody:
            self._publish(frame, estimate)
        self._somebody = bool(estimate.poses)
        self._told_s = monotonic()

    def _publish(self, frame: Frame, estimate: Estimate) -> None:
        start = perf_counter()
        latency_ms = (monotonic() - frame.available_s) * 1e3
        message = pose_message(
            self._device, self.figures.messages, frame, estimate.poses, latency_ms, world=self._world
        )
        payload = encode(message)
        encoded = perf_counter()
        for consume in self._consumers:
            consume(message, payload)
        estimate.stage_ms["encode"] = (encoded - start) * 1e3
        estimate.stage_ms["publish"] = (perf_counter() - encoded) * 1e3
        self.figures.messages += 1
        self.figures.latency_ms.append(latency_ms)
