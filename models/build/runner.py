"""Run a .tflite on uint8 pictures and decode what it says, the way the pipeline does."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edge import detector as edge_detector
from edge import landmarks as edge_landmarks
from edge import roi as edge_roi
from edge.logistic import sigmoid
from edge.pose import NUM_KEYPOINTS
from models.build.crops import DETECTOR_SIDE, LANDMARK_SIDE

Floats = NDArray[np.float32]
MODEL_LANDMARKS, USED_LANDMARKS = edge_landmarks.MODEL_LANDMARKS, edge_landmarks.USED_LANDMARKS


class Runner:
    """A loaded model: picture in, outputs by tensor name in real numbers out."""

    def __init__(self, data: bytes, threads: int = 1) -> None:
        self._interpreter = Interpreter(model_content=data, num_threads=threads)
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()

    def load(self, picture: NDArray[np.uint8]) -> None:
        """Write a picture [side, side, 3] into the input: p - 128 for int8, else the model's own real range."""
        if self._input["dtype"] == np.int8:
            value: NDArray[Any] = (picture ^ np.uint8(0x80)).view(np.int8)
        elif len(picture) == DETECTOR_SIDE:
            value = picture.astype(np.float32) / np.float32(127.5) - np.float32(1)
        else:
            value = picture.astype(np.float32) * np.float32(1 / 255)
        self._interpreter.set_tensor(self._input["index"], value[None])

    def invoke(self) -> None:
        """Run the model on what was loaded."""
        self._interpreter.invoke()

    def outputs(self) -> dict[str, Floats]:
        """Every output in real numbers, by name."""
        result = {}
        for detail in self._outputs:
            values = self._interpreter.get_tensor(detail["index"])
            if detail["dtype"] == np.int8:
                scale, zero = detail["quantization"]
                values = (values.astype(np.float32) - np.float32(zero)) * np.float32(scale)
            result[detail["name"]] = values.copy()
        return result

    def __call__(self, picture: NDArray[np.uint8]) -> dict[str, Floats]:
        """Load, invoke, read."""
        self.load(picture)
        self.invoke()
        return self.outputs()


@dataclass
class Pose:
    """What a landmark model says of one crop: `points` [35, 2] crop px, refined; `world` [33, 3] metres."""

    points: Floats
    unrefined: Floats
    presence: float
    visibility: Floats
    world: Floats


def decode_pose(outputs: dict[str, Floats]) -> Pose:
    """The pose in a landmark model's outputs, float or int8 (which has x and y in an output of their own)."""
    if "landmarks" in outputs:
        raw = outputs["landmarks"].reshape(MODEL_LANDMARKS, 5)
        xy, visibility = raw[:, :2], raw[:, 3]
    else:
        xy, visibility = outputs["landmarks_xy"].reshape(MODEL_LANDMARKS, 2), outputs["visibility"].reshape(-1)
    unrefined = np.ascontiguousarray(xy[:USED_LANDMARKS], np.float32)
    heatmap = outputs["heatmap"].reshape(-1)
    points = edge_landmarks.refine(unrefined / np.float32(LANDMARK_SIDE), lambda index: sigmoid(heatmap[index]))
    world = outputs["world"].reshape(MODEL_LANDMARKS, 3)[:NUM_KEYPOINTS]
    visible = sigmoid(visibility[:NUM_KEYPOINTS])
    return Pose(
        points * np.float32(LANDMARK_SIDE), unrefined, float(outputs["presence"].reshape(-1)[0]), visible, world
    )


@dataclass
class Person:
    """A detection in px of the letterboxed frame: score, box corners [4], and the ROI's side and rotation."""

    score: float
    box: Floats
    side_px: float
    rotation_rad: float


_ANCHORS = edge_detector.make_anchors()


def decode_people(outputs: dict[str, Floats], threshold: float = 0.5) -> list[Person]:
    """The people in a detector's outputs, best first."""
    candidates = edge_detector.decode(
        edge_detector.read_boxes(outputs.__getitem__), outputs["scores"].reshape(-1), _ANCHORS, DETECTOR_SIDE, threshold
    )
    people = []
    for score, geometry in edge_detector.weighted_nms(*candidates):
        scaled = geometry * np.float32(DETECTOR_SIDE)
        roi = edge_roi.from_points(scaled[4:6], scaled[6:8])
        people.append(Person(score, scaled[:4], roi.side_px, roi.rotation_rad))
    return people
