"""What is told beside the poses: presence and count when they change, health at an interval."""

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
        source: counts dropped frames and knows of a stall.
        figures: of the loop.
        controls: of the loop.
    """

    def __init__(
        self, settings: MqttSettings, publisher: Publisher, source: Source, figures: Figures, controls: Controls
    ) -> None:
        self._publisher = publisher
        self._source = source
        self._figures = figures
        self._controls = controls
        self._presence = Presence(settings.presence_on, settings.presence_off)
        self._interval_s = settings.health_interval
        self._started_s = self._told_s = time.monotonic()
        self._frames = self._detections = self._messages = 0
        self._stalled = False

    def see(self, frame: Frame, estimate: Estimate) -> None:
        """Look at one processed frame."""
        self._tell(self._presence.update(len(estimate.poses), frame.time_s), frame.epoch_s)

    def tick(self) -> None:
        """Called at every turn of the loop, also when no frame came."""
        if not self._controls.enabled:
            self._tell(self._presence.none(), time.time())
        stalled = self._source.stalled
        # Whoever relies on presence must know at once that nobody is looking.
        if stalled != self._stalled or time.monotonic() - self._told_s >= self._interval_s:
            self._stalled = stalled
            self._publisher.publish_health(self.health())

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
            frames_dropped=self._source.dropped,
            poses_dropped=self._publisher.poses_dropped,
            reconnects=self._publisher.reconnects,
            stalled=self._source.stalled,
            stalls=self._source.stalls,
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
