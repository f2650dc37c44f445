"""How old a frame is when its message has left, at a camera's pace: as the models are, and with inference slowed down.

    .venv/bin/python -m tests.benchmarks.pace --source CLIP --broker mqtt://HOST:PORT
    .venv/bin/python -m tests.benchmarks.pace --source CLIP --broker mqtt://HOST:PORT --invoke-s 0.1

The whole loop runs as in `edge-pose run --realtime`; age is from the moment a frame is due until the publisher has
taken its message.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge import run
from edge.config_load import load
from edge.estimator import Estimate
from edge.messages import PoseMessage
from edge.pipeline import Controls
from edge.pose import Frame
from edge.runtime import Model

# After the start, so many messages are not counted: both models and the broker's connection are new.
WARM_UP = 10


class Watch:
    """Times every invocation of the landmark model, makes it take longer, and notes the age of every message."""

    def __init__(self, invoke_s: float) -> None:
        self.invoke_ms: list[float] = []
        self.age_ms: list[float] = []
        self._invoke_s = invoke_s
        self._invoke = Model.invoke
        self._left_s: float | None = None

    def slowed(self) -> Callable[[Model], None]:
        """What takes the place of `Model.invoke`."""

        def invoke(model: Model) -> None:
            start_s = time.perf_counter()
            self._invoke(model)
            if model.entry.role == "landmarks":
                time.sleep(max(self._invoke_s - (time.perf_counter() - start_s), 0.0))
                self.invoke_ms.append((time.perf_counter() - start_s) * 1e3)

        return invoke

    def tell(self, _message: PoseMessage, _payload: bytes) -> None:
        """Called after the publisher, with the same message."""
        self._left_s = time.monotonic()

    def see(self, frame: Frame, _estimate: Estimate) -> None:
        """Called when a frame has gone all the way; what is searched for in it comes after its message."""
        if self._left_s is not None:
            self.age_ms.append((self._left_s - frame.available_s) * 1e3)
        self._left_s = None


def percentiles(values: list[float]) -> NDArray[np.float64]:
    """p50, p95, p99 and the largest."""
    found: NDArray[np.float64] = np.percentile(values, (50, 95, 99, 100))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--model", default="lite", choices=["lite", "full"])
    parser.add_argument("--invoke-s", type=float, default=0.0, help="an invocation takes at least so long")
    parser.add_argument("--duration", type=float, default=60.0)
    options = parser.parse_args()
    settings = load(
        overrides={
            "model.model": options.model,
            "mqtt.broker": options.broker,
            "mqtt.device_name": "benchmark",
            "camera.source": options.source,
            "camera.realtime": True,
            "camera.loop": True,
        },
        environment={},
    ).settings
    watch = Watch(options.invoke_s)
    Model.invoke = watch.slowed()  # type: ignore[method-assign]
    run.run_loop(settings, Controls(), [watch.tell], observers=[watch.see], duration_s=options.duration)
    print(f"{len(watch.age_ms)} messages, {options.model}, {options.source}")
    p50, p95, p99, largest = percentiles(watch.age_ms[WARM_UP:])
    print(f"age of a frame when its message has left, ms: p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, {largest:.1f}")
    p50, p95, *_ = percentiles(watch.invoke_ms)
    print(f"invocation of the landmark model, ms: p50 {p50:.1f}, p95 {p95:.1f}")


if __name__ == "__main__":
    main()
