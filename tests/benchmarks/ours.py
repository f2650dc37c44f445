"""The whole loop of edge-pose, publishing to a real broker, as a contestant.

Usage: python ours.py CLIP STARTED_S VARIANT PRECISION THREADS BROKER

`edge.run.run_loop` runs as in `edge-pose run`, in a thread; only its source is replaced by one that takes frames from
memory, so that decoding the clip is counted for nobody.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import worker

from edge import run
from edge.camera_source import Source
from edge.config import Settings
from edge.config_load import load
from edge.estimator import Estimate, PoseEstimator
from edge.manifest import ModelStore
from edge.pipeline import Controls
from edge.pose import Frame

TIMEOUT_S = 60.0


class HandedOver(Source):
    """Frames from `hand_over`, taken by the loop's own thread as from a file."""

    name = "memory"

    def __init__(self) -> None:
        self._frames: Iterator[tuple[worker.Image, float]] | None = None
        self._changed = threading.Condition()
        self._number = 0

    @property
    def ended(self) -> bool:
        return False

    def hand_over(self, frames: Iterator[tuple[worker.Image, float]]) -> None:
        """Returns when the loop asks for one more than there are."""
        with self._changed:
            self._frames = frames
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._frames is None, TIMEOUT_S):
                sys.exit("the loop has stopped")

    def read(self, timeout_s: float | None = None) -> Frame | None:
        frames = self._frames
        if frames is not None:
            found = next(frames, None)
            if found is not None:
                self._number += 1
                return Frame(found[0], found[1], time.time(), time.monotonic(), self._number)
        with self._changed:
            if frames is not None:
                self._frames = None
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._frames is not None, timeout_s)
        return None

    def close(self) -> None:
        pass


class Loop:
    """See `worker.Engine`."""

    rgb = False

    def __init__(self, settings: Settings) -> None:
        self._source = HandedOver()
        self._found = 0
        self._estimators: list[PoseEstimator] = []
        started = threading.Event()
        run.opened = self._opened  # the one seam: where the loop opens its camera
        run.PoseEstimator = self._estimator
        keywords = {"observers": [self._see], "started": lambda _: started.set()}
        thread = threading.Thread(target=run.run_loop, args=(settings, Controls()), kwargs=keywords, daemon=True)
        thread.start()
        if not started.wait(TIMEOUT_S):
            sys.exit("the loop does not start")

    @contextmanager
    def _opened(self, *_: object, **__: object) -> Iterator[Source]:
        yield self._source

    def _estimator(self, *arguments: object) -> PoseEstimator:
        self._estimators.append(PoseEstimator(*arguments))  # type: ignore[arg-type]
        return self._estimators[-1]

    def _see(self, _frame: Frame, estimate: Estimate) -> None:
        self._found += bool(estimate.poses)

    def process(self, frames: Iterator[tuple[worker.Image, float]]) -> int:
        before = self._found
        self._source.hand_over(frames)
        return self._found - before

    def bare(self) -> None:
        self._estimators[0].landmark_model.invoke()


def main(clip: str, started_s: str, *wanted: str) -> None:
    variant, precision, threads, broker = wanted
    # A landmark model in each number format, with the detector in its best: as `auto` has it, but for the choice.
    best = ModelStore.default_precision

    def chosen(store: ModelStore, runtime: str, of: str) -> str:
        return precision if of == variant else best(store, runtime, of)

    ModelStore.default_precision = chosen  # type: ignore[method-assign]
    overrides = {
        "model.model": variant,
        "model.threads": int(threads),
        "mqtt.broker": broker,
        "mqtt.device_name": "benchmark",
    }
    settings = load(overrides=overrides, environment={}).settings
    worker.serve(clip, float(started_s), lambda: Loop(settings))


if __name__ == "__main__":
    main(*sys.argv[1:])
