"""One frame in, the people in it out: tracker, detector, landmarks and smoothing wired together, each of them timed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from time import perf_counter

import numpy as np

from edge import parts, roi
from edge.acquisition import WIDER, Finder, Look, distinct_detections, sighting_of
from edge.config import Settings
from edge.detector import Detector
from edge.evidence import Weights, weights_for
from edge.landmarks import LandmarkModel
from edge.manifest import ModelStore
from edge.motion import MotionGate
from edge.person import Person
from edge.pose import Detection, Frame, Landmarks, Pose, Roi
from edge.runtime import load_runtime, open_model
from edge.smoothing import PoseSmoother
from edge.tracker import Tracker


@dataclass(slots=True)
class Estimate:
    """What one frame holds.

    Attributes:
        poses: the people, in frame px.
        search_due: whether the detector is still to look at this frame.
        detector_ran: whether it did.
        stage_ms: wall-clock milliseconds of each stage that ran: gate (deciding whether to
            detect), detect (its own warp included), warp, landmarks, smooth.
    """

    poses: list[Pose] = field(default_factory=list)
    search_due: bool = False
    detector_ran: bool = False
    stage_ms: dict[str, float] = field(default_factory=dict)


def finder_in(
    frame: Frame, weights: Weights, min_presence: float, look: Look, detect: Callable[..., list[Detection]]
) -> Finder:
    """What looks at the detector's proposals in a frame.

    Args:
        frame: the frame.
        weights: of the evidence.
        min_presence: what the landmark model gives less than this is nobody.
        look: runs the landmark model on a region of the frame.
        detect: runs the detector on squares of the frame, and gives all that it sees in them.
    """
    return Finder(
        weights,
        (frame.width_px, frame.height_px),
        min_presence,
        look,
        cache(lambda: detect(roi.whole_frame(frame, WIDER))),
        lambda: [detect(*parts.squares(frame, share)) for share in parts.SHARES],
    )


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
        rules = settings.tracker
        plain = rules.acquisition == "single"
        self._detector = Detector(self.detector_model, settings.detector.min_score if plain else rules.candidate_score)
        # With one person it would cost a fortieth of a followed frame, and there is nobody to be told from.
        self._several = rules.max_people > 1 and not plain
        self._landmarks = LandmarkModel(self.landmark_model, world=settings.pipeline.world, clothes=self._several)
        entry = self.landmark_model.entry
        self._weights = weights_for(entry.variant)
        self._tracker = Tracker(rules, self._weights)
        self._motion = MotionGate()
        self._smoothing = settings.smoothing
        self._smoothers: dict[int, PoseSmoother] = {}
        self._turn = 0
        self._size_px = 0, 0

    def warm_up(self) -> None:
        """Run both models once, so that the first real frame does not pay for their first invocation."""
        for model in (self.detector_model, self.landmark_model):
            model.set_image(np.zeros((model.input_size_px, model.input_size_px, 3), np.uint8), "RGB")
            model.invoke()

    def forget(self) -> None:
        """Drop everybody: the next frame is looked at by itself."""
        self._tracker.forget()
        self._smoothers.clear()

    def process(self, frame: Frame, *, alone: bool = False) -> Estimate:
        """Find the people in the next frame of the source; its `time_s` must be later than the one before.

        Args:
            frame: the picture.
            alone: a picture by itself: nobody is followed into it or out of it, and whoever is in doubt is decided
                upon now.
        """
        if alone:
            self.forget()
        estimate = self.follow(frame)
        if estimate.search_due:
            self.search(frame, estimate, patient=not alone)
        if alone:
            self.forget()
        return estimate

    def follow(self, frame: Frame) -> Estimate:
        """The first part of `process`: whoever is held, without the detector."""
        estimate = Estimate()
        if (size_px := (frame.width_px, frame.height_px)) != self._size_px:
            self.forget()  # where people are is known in px of pictures of another size
            self._size_px = size_px
        with _timed(estimate, "gate"):
            search = self._tracker.wants_detection(frame.time_s, lambda: self._motion.moved(frame))
        if self._several:
            for person_id in self._tracker.recognise(frame.time_s):
                self._smoothers.pop(person_id, None)
        for person in list(self._tracker.people):
            self._follow(frame, person, estimate)
        self._settle(frame, estimate)
        # Where the last one held was lost just now, whoever else is there is looked for in the same frame.
        estimate.search_due = search or self._tracker.wants_detection(frame.time_s, lambda: False)
        return estimate

    def search(self, frame: Frame, estimate: Estimate, *, patient: bool = True) -> None:
        """The second part of `process`, where `search_due`: the detector and whom it finds.

        Args:
            frame: the one that was followed into last.
            estimate: of `follow`; takes up whoever is new, and loses whom the detector does not see.
            patient: whether there will be more frames, so that who is in doubt can be looked at again.
        """
        detections = self._detect(frame, estimate)
        # Who is far away is too small in the whole frame. An empty room is searched whole: parts hold more that looks
        # like somebody (docs/benchmark.md).
        if patient and self._several and self._tracker.people:
            detections = distinct_detections([*detections, *self._detect(frame, estimate, self._next_part(frame))])
        estimate.search_due, estimate.detector_ran = False, True
        finder = finder_in(
            frame,
            self._weights,
            self._tracker.rules.min_presence,
            lambda region: self._look(frame, region, estimate),
            partial(self._detect, frame, estimate),
        )
        for person in self._tracker.search(detections, finder, frame.time_s, patient=patient):
            found = self._smoothed(person.id, person.last.found, frame.time_s, estimate)
            points, raw_px, region = found.keypoints_px, person.last.found.keypoints_px, person.last.region
            # Whoever was lost by this search and found again has a pose from before it.
            estimate.poses = [pose for pose in estimate.poses if pose.id != person.id]
            estimate.poses.append(Pose(person.id, person.score, "detected", points, found.world_m, region, raw_px))
        if not self._tracker.people:
            self._motion.keep(frame)
        self._settle(frame, estimate)

    def _next_part(self, frame: Frame) -> Roi:
        """The part of the frame whose turn it is to be looked at more closely."""
        squares = parts.squares(frame, parts.SHARES[0])
        self._turn = (self._turn + 1) % len(squares)
        return squares[self._turn]

    def _follow(self, frame: Frame, person: Person, estimate: Estimate) -> None:
        region = person.roi
        found = self._look(frame, region, estimate)
        seen = sighting_of(region, found, person.last.detector_logit, self._weights)
        raw_px = found.keypoints_px
        found = self._smoothed(person.id, found, frame.time_s, estimate)
        size_px = frame.width_px, frame.height_px
        if self._tracker.update(person, seen, roi.from_auxiliary(found.auxiliary_px), frame.time_s, size_px):
            points = found.keypoints_px
            estimate.poses.append(Pose(person.id, person.score, "tracked", points, found.world_m, region, raw_px))

    def _settle(self, frame: Frame, estimate: Estimate) -> None:
        """Keep the poses of those who are held and believed."""
        kept = {person.id for person in self._tracker.settle(frame.time_s) if person.confirmed}
        estimate.poses = [pose for pose in estimate.poses if pose.id in kept]
        held = self._tracker.ids()
        self._smoothers = {key: value for key, value in self._smoothers.items() if key in held}

    def _detect(self, frame: Frame, estimate: Estimate, *squares: Roi) -> list[Detection]:
        with _timed(estimate, "detect"):
            return self._detector.detect(frame, *squares)

    def _look(self, frame: Frame, region: Roi, estimate: Estimate) -> Landmarks:
        with _timed(estimate, "warp"):
            self._landmarks.load(frame, region)
        with _timed(estimate, "landmarks"):
            return self._landmarks.infer(region)

    def _smoothed(self, person_id: int, found: Landmarks, time_s: float, estimate: Estimate) -> Landmarks:
        if self._smoothing.mode == "off":
            return found
        with _timed(estimate, "smooth"):
            smoother = self._smoothers.get(person_id)
            if smoother is None:
                smoother = self._smoothers[person_id] = PoseSmoother(self._smoothing)
            return smoother.apply(found, time_s, roi.diameter_px(found.auxiliary_px))


class _timed:  # noqa: N801 -- reads as a statement; `contextmanager` would take three times as long
    """Adds the wall-clock time of a `with` block to a stage of the estimate."""

    __slots__ = ("_estimate", "_stage", "_start_s")

    def __init__(self, estimate: Estimate, stage: str) -> None:
        self._estimate, self._stage = estimate, stage

    def __enter__(self) -> None:
        self._start_s = perf_counter()

    def __exit__(self, *_: object) -> None:
        spent_ms = (perf_counter() - self._start_s) * 1e3
        self._estimate.stage_ms[self._stage] = self._estimate.stage_ms.get(self._stage, 0.0) + spent_ms
