"""The command `run`: camera, models and publisher put together from the settings, until it is told to stop."""

import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from types import FrameType

from edge.camera import Source, is_live
from edge.config import Settings
from edge.estimator import Estimate, PoseEstimator
from edge.line_printer import LinePrinter
from edge.messages import Info, ModelInfo, PoseMessage
from edge.packed import pack
from edge.pipeline import Controls, Figures, Pipeline
from edge.pose import Frame
from edge.publisher import Publisher
from edge.reporter import Reporter
from edge.runtime import Model
from edge.service import LoopState, Service
from edge.service_camera import opened

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `run` may be asked for beside the settings: seconds to run, and messages on standard output."""

    duration_s: float | None = None
    print_messages: bool = False


def run(settings: Settings, options: RunOptions) -> Figures:
    """Run the camera loop until the source ends, the time is up, or SIGTERM or SIGINT arrives.

    Raises:
        EdgePoseError: the source, a model or a setting fails.
    """
    controls = Controls(max_fps=settings.pipeline.max_fps)
    stop_on_signals(controls)
    service = Service()
    if not service.delay_start(controls):
        return Figures()
    wants_lines = options.print_messages
    with LinePrinter(controls.stop, live=is_live(settings.camera)) if wants_lines else nullcontext() as printer:
        consumers = [printer] if printer else []
        figures = run_loop(settings, controls, consumers, service=service, duration_s=options.duration_s)
    _log.info(
        "stopped after %d frames, %d with people, %d messages",
        *(figures.frames, figures.frames_with_people, figures.messages),
    )
    return figures


def run_loop(
    settings: Settings,
    controls: Controls,
    consumers: Sequence[Callable[[PoseMessage, bytes], None]] = (),
    *,
    observers: Sequence[Callable[[Frame, Estimate], None]] = (),
    started: Callable[[Publisher], None] | None = None,
    service: Service | None = None,
    figures: Figures | None = None,
    duration_s: float | None = None,
) -> Figures:
    """Open everything that the settings name, run the loop, close everything again.

    Args:
        settings: all of them.
        controls: to stop or steer the loop from another thread.
        consumers: called with each message, beside the publisher.
        observers: called with each processed frame.
        started: called once, when the source is open and before its first frame.
        service: told how it goes; None is the one of this process's environment.
        figures: where figures are kept.
        duration_s: how long to run; None is until the source ends.

    Raises:
        EdgePoseError: the source, a model or a setting fails.
    """
    service = service or Service()
    estimator = PoseEstimator(settings)
    publisher = Publisher(settings.mqtt, describe(settings.mqtt.device(), estimator), controls)
    figures = figures or Figures()
    reporter = Reporter(settings.mqtt, publisher, figures, controls)
    publisher.start()  # it connects while the models warm up and the source opens
    try:
        estimator.warm_up()
        # The publisher closes before the camera, which may take its time: readers should know at once.
        with opened(settings.camera, controls, service, waiting=reporter.tick) as source, closing(publisher):
            if source is None:
                return figures
            reporter.watch(source)
            _log.info("%s: %s", source.name, source.details or "open")
            if started:
                started(publisher)
            pipeline = _assembled(
                settings, estimator, source, publisher, reporter, controls, service, figures, consumers, observers
            )
            pipeline.run(duration_s)
            if figures.messages and not publisher.state.connections:
                _log.warning("no message was delivered: there was never a connection to %s", settings.mqtt.broker)
            return figures
    finally:
        publisher.close()


def _assembled(
    settings: Settings,
    estimator: PoseEstimator,
    source: Source,
    publisher: Publisher,
    reporter: Reporter,
    controls: Controls,
    service: Service,
    figures: Figures,
    consumers: Sequence[Callable[[PoseMessage, bytes], None]],
    observers: Sequence[Callable[[Frame, Estimate], None]],
) -> Pipeline:
    return Pipeline(
        settings.mqtt.device(),
        source,
        estimator,
        [publish_poses(publisher, packed=settings.mqtt.packed), *consumers],
        observers=[reporter.see, lambda _, estimate: service.frame_finished(len(estimate.poses)), *observers],
        tick=lambda: _tick(reporter, service, source, controls, publisher),
        controls=controls,
        figures=figures,
        world=settings.pipeline.world,
    )


def _tick(reporter: Reporter, service: Service, source: Source, controls: Controls, publisher: Publisher) -> None:
    reporter.tick()
    service.turn(LoopState(hung=source.hung, stalled=source.stalled, enabled=controls.enabled, broker=publisher.state))


def publish_poses(publisher: Publisher, *, packed: bool) -> Callable[[PoseMessage, bytes], None]:
    """Hand each message to the publisher, as JSON and, if it is switched on, in binary form."""
    if packed:
        return lambda message, payload: publisher.publish_pose(payload, pack(message))
    return lambda _, payload: publisher.publish_pose(payload)


def describe(device: str, estimator: PoseEstimator) -> Info:
    """What runs here, as published on the topic `info`."""
    models = (estimator.detector_model, estimator.landmark_model)
    return Info(
        device=device,
        models=tuple(map(_describe_model, models)),
        runtime=f"{estimator.runtime.name} {estimator.runtime.version}",
        delegate=estimator.landmark_model.device,
    )


def _describe_model(model: Model) -> ModelInfo:
    compilation = model.entry.compilation
    return ModelInfo(
        role=model.entry.role,
        name=model.entry.name,
        precision=model.entry.precision,
        device=model.device,
        edgetpu_ops=compilation.edgetpu_ops if compilation else None,
        cpu_ops=compilation.cpu_ops if compilation else None,
        fallback=model.fallback,
    )


def stop_on_signals(controls: Controls) -> None:
    """Let SIGTERM and SIGINT end the loop in an orderly way."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        controls.stop.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
