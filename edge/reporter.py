"""What is told beside the poses: presence and count when they change; health then, too, and at an interval."""

import time
from itertools import islice
from typing import Final

import numpy as np

from edge import health
from edge.camera import Source
from edge.config import MqttSettings
from edge.estimator import Estimate
from edge.messages import Health, Percentiles
from edge.pipeline import Controls, Figures
from edge.pose import Frame
from edge.presence import Presence, PresenceChange
from edge.publisher import Publisher

PERCENTILES: Final = (50, 95, 99)


class Reporter:
    """Watches the loop and tells the publisher. Called in the loop's thread.

    Args:
        settings: [mqtt]: the times of presence and health.
        publisher: where it goes.
        figures: of the loop.
        controls: of the loop.
    """

    def __init__(self, settings: MqttSettings, publisher: Publisher, figures: Figures, controls: Controls) -> None:
        self._publisher = publisher
        self._source: Source | None = None
        self._figures = figures
        self._controls = controls
        self._presence = Presence(settings.presence_on, settings.presence_off)
        self._interval_s = settings.health_interval
        self._started_s = self._told_s = time.monotonic()
        self._frames = self._detections = self._messages = 0
        self._shown: tuple[bool, bool, float] | None = None

    def watch(self, source: Source) -> None:
        """The camera is there: it counts dropped frames and knows of a stall. Until then nobody is looking."""
        self._source = source

    def see(self, frame: Frame, estimate: Estimate) -> None:
        """Look at one processed frame."""
        self._tell(self._presence.update(len(estimate.poses), frame.time_s), frame.epoch_s)

    def tick(self) -> None:
        """Called at every turn of the loop, also when no frame came, and while a camera is waited for."""
        if not self._controls.enabled:
            self._tell(self._presence.none(), time.time())
        # At once: that nobody is looking, for whoever relies on presence; what a command has set; and at the start, for
        # what the broker has kept is of the run before.
        shown = self._stalled(), self._controls.enabled, self._controls.max_fps
        if shown != self._shown or time.monotonic() - self._told_s >= self._interval_s:
            self._shown = shown
            self._publisher.publish_health(self.health())

    def _stalled(self) -> bool:
        return self._source is None or self._source.stalled

    def health(self) -> Health:
        """The figures since the last call."""
        now_s = time.monotonic()
        figures, elapsed_s = self._figures, now_s - self._told_s
        frames = figures.frames - self._frames
        detections = figures.detector_runs - self._detections
        told = Health(
            time=round(time.time(), 3),
            uptime_s=round(now_s - self._started_s, 1),
            fps=round(frames / elapsed_s, 2) if elapsed_s > 0 else 0.0,
            latency_ms=percentiles(figures, figures.messages - self._messages),
            without_detection=round(1 - detections / frames, 4) if frames else None,
            frames_dropped=self._source.dropped if self._source else 0,
            poses_dropped=self._publisher.poses_dropped,
            reconnects=self._publisher.reconnects,
            stalled=self._stalled(),
            stalls=self._source.stalls if self._source else 0,
            rss_mb=health.rss_mb(),
            temperature_c=health.temperature_c(),
            throttled=health.throttled(health.throttle_word()),
            enabled=self._controls.enabled,
            max_fps=self._controls.max_fps,
        )
        self._told_s, self._frames, self._messages = now_s, figures.frames, figures.messages
        self._detections = figures.detector_runs
        return told

    def _tell(self, change: PresenceChange, epoch_s: float) -> None:
        if change.count is not None:
            self._publisher.publish_count(change.count, epoch_s)
        if change.present is not None:
            self._publisher.publish_presence(change.present, epoch_s)


def percentiles(figures: Figures, messages: int) -> Percentiles:
    """Latency of the last so many messages, as far as the loop remembers them."""
    kept = len(figures.latency_ms)
    latest = list(islice(figures.latency_ms, max(kept - messages, 0), kept))
    if not latest:
        return Percentiles()
    p50, p95, p99 = np.percentile(latest, PERCENTILES).round(1).tolist()
    return Percentiles(p50=p50, p95=p95, p99=p99)
