"""The models by themselves: how long one invocation takes, and how much processor time."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.benchmark_result import ModelTimes, Times
from edge.config import Settings
from edge.manifest import Entry, ModelStore
from edge.runtime import Model, Runtime

MAX_THREADS: Final = 4
# The first invocations find cold caches, and a clock that has not risen yet.
WARM_UP: Final = 3


@dataclass(frozen=True, slots=True)
class Effort:
    """With which numbers of threads each model is measured, and how long: at least `seconds`, and `invocations`."""

    threads: Sequence[int]
    seconds: float = 1.5
    invocations: int = 30


def times(samples_ms: Sequence[float]) -> Times | None:
    """Percentiles of milliseconds; None where there are none."""
    if not samples_ms:
        return None
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(np.asarray(samples_ms), (50, 95, 99)))
    return Times(count=len(samples_ms), p50=p50, p95=p95, p99=p99)


def wanted_entries(store: ModelStore, settings: Settings, *, every_landmark_model: bool) -> list[Entry]:
    """The models that are here: each precision of the detector and of the landmark models.

    One that is not part of a release, such as `heavy`, is measured only if it was named.

    Args:
        store: where models are.
        settings: `model.model` and `model.precision` choose, where the user named them.
        every_landmark_model: whether all landmark models are wanted, or only `model.model`.
    """
    precision = settings.model.precision
    return [
        entry
        for entry in store.manifest.models
        if store.path(entry).is_file()
        and precision in ("auto", entry.precision)
        and (
            entry.role == "detector"
            or entry.variant == settings.model.model
            or (every_landmark_model and entry.committed)
        )
    ]


def measure_models(
    store: ModelStore,
    entries: Sequence[Entry],
    runtime: Runtime,
    effort: Effort,
    say: Callable[[str], None],
) -> Iterator[ModelTimes]:
    """Measure every model with every number of threads, one after another.

    Raises:
        ModelError: a model that cannot be loaded or run.
    """
    for entry in entries:
        for count in effort.threads:
            say(f"{entry.name} {entry.precision}, {count} {'thread' if count == 1 else 'threads'}")
            yield _measure(Model(store, entry, runtime, "cpu", count), count, effort)


def _measure(model: Model, threads: int, effort: Effort) -> ModelTimes:
    # Noise, because a runtime might be quicker over zeros; the same each time, so that runs can be compared.
    shape = (model.input_size_px, model.input_size_px, 3)
    model.set_image(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), "RGB")
    for _ in range(WARM_UP):
        model.invoke()
    samples_ms: list[float] = []
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    last_s = start_s
    while len(samples_ms) < effort.invocations or last_s - start_s < effort.seconds:
        model.invoke()
        now_s = time.perf_counter()
        samples_ms.append((now_s - last_s) * 1e3)
        last_s = now_s
    cpu_ms = (time.process_time() - start_cpu_s) * 1e3 / len(samples_ms)
    measured = times(samples_ms)
    assert measured is not None  # noqa: S101 -- the loop above ran
    return ModelTimes(
        name=model.entry.name,
        precision=model.entry.precision,
        threads=threads,
        invoke_ms=measured,
        cpu_ms=round(cpu_ms, 3),
    )
