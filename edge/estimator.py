"""One frame in, the people in it out: tracker, detector, landmarks and smoothing wired together, each of them timed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from edge import roi
from edge.config import Settings
from edge.detector import Detector
from edge.landmarks import LandmarkModel
from edge.manifest import ModelStore
from edge.motion import MotionGate
from edge.pose import Frame, Pose
from edge.runtime import load_runtime, open_model
from edge.smoothing import PoseSmoother
from edge.tracker import Person, Tracker


@dataclass(slots=True)
class Estimate:
    """What one frame holds.

    Attributes:
        poses: the people, in frame px.
        detector_ran: whether the detector looked at this frame.
        stage_ms: wall-clock milliseconds of each stage that ran: gate (deciding whether to
            detect), detect (its own warp included), warp, landmarks, smooth.
    """

    poses: list[Pose] = field(default_factory=list)
    detector_ran: bool = False
    stage_ms: dict[str, float] = field(default_factory=dict)


class PoseEstimator:
    """Finds and follows people through the frames of one source.

    Args:
        settings: [model], [detector], [tracker], [smoothing] and [pipeline] are read.

    Raises:
        ModelError, MissingDependencyError: a model or runtime that cannot be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        wanted = settings.model
        self.runtime = load_runtime(wanted.runtime)
        store = ModelStore(Path(wanted.directory) if wanted.directory else None)
        self.detector_model, self.landmark_model = (
            open_model(store, role, variant, wanted, self.runtime)
            for role, variant in (("detector", "detector"), ("landmarks", wanted.model))
        )
        self._detector = Detector(self.detector_model, settings.detector.min_score)
        self._landmarks = LandmarkModel(self.landmark_model, world=settings.pipeline.world)
        held = settings.tracker
        idle_interval_s = 1.0 / held.idle_fps if held.idle_fps else 0.0
        self._tracker = Tracker(held.max_people, held.min_presence, held.search_interval, idle_interval_s)
        self._motion = MotionGate()
        self._smooth = settings.smoothing.mode != "off"
        self._smoothers: dict[int, PoseSmoother] = {}

    def warm_up(self) -> None:
        """Run both models once, so that the first real frame does not pay for their first invocation."""
        for model in (self.detector_model, self.landmark_model):
            model.set_image(np.zeros((model.input_size_px, model.input_size_px, 3), np.uint8), "RGB")
            model.invoke()

    def forget(self) -> None:
        """Drop everybody: the next frame is looked at by itself."""
        self._tracker.forget()
        self._smoothers.clear()

    def process(self, frame: Frame) -> Estimate:
        """Find the people in the next frame of the source; its `time_s` must be later than the one before."""
        estimate = Estimate()
        with _timed(estimate, "gate"):
            search = self._tracker.wants_detection(frame.time_s, lambda: self._motion.moved(frame))
        if search:
            with _timed(estimate, "detect"):
                detections = self._detector.detect(frame)
            estimate.detector_ran = True
            if not detections:
                self._motion.keep(frame)
            self._tracker.add(map(roi.from_detection, detections), frame.time_s)
        for person in list(self._tracker.people):
            pose = self._look(frame, person, estimate)
            if pose is not None:
                estimate.poses.append(pose)
        return estimate

    def _look(self, frame: Frame, person: Person, estimate: Estimate) -> Pose | None:
        region, source = person.roi, person.source
        with _timed(estimate, "warp"):
            self._landmarks.load(frame, region)
        with _timed(estimate, "landmarks"):
            found = self._landmarks.infer(region)
        presence = found.presence
        if self._smooth and presence >= self._tracker.min_presence:
            with _timed(estimate, "smooth"):
                smoother = self._smoothers.setdefault(person.id, PoseSmoother())
                found = smoother.apply(found, frame.time_s, roi.diameter_px(found.auxiliary_px))
        if not self._tracker.update(person, presence, roi.from_auxiliary(found.auxiliary_px)):
            self._smoothers.pop(person.id, None)
            return None
        return Pose(person.id, presence, source, found.keypoints_px, found.world_m, region)


@contextmanager
def _timed(estimate: Estimate, stage: str) -> Iterator[None]:
    start = perf_counter()
    yield
    estimate.stage_ms[stage] = estimate.stage_ms.get(stage, 0.0) + (perf_counter() - start) * 1e3
