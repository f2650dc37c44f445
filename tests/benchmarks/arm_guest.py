"""Runs under user-mode qemu, whose plugin counts the instructions: a model by itself, or whole frames.

Usage: python3 arm_guest.py model|frame VARIANT PRECISION COUNT [FRAMES.bgr]

`model` invokes the model COUNT times; `frame` does to COUNT frames of 1280x720 what the loop does between the camera
and the network: warp, landmarks, smoothing, message, JSON.
"""

import sys
from pathlib import Path

import numpy as np

from edge.config_load import load
from edge.estimator import PoseEstimator
from edge.manifest import ModelStore
from edge.messages import encode, pose_message
from edge.pose import Frame
from edge.runtime import Model, load_runtime

WIDTH, HEIGHT = 1280, 720
# In the first frames the detector runs, and a person is looked at more closely.
SETTLED = 5


def invoke(variant: str, precision: str, count: int) -> None:
    """The model by itself."""
    store = ModelStore()
    role = "detector" if variant == "detector" else "landmarks"
    model = Model(store, store.find(role, variant, precision), load_runtime("ai-edge-litert"), "cpu", 1)
    model.set_image(np.full((model.input_size_px, model.input_size_px, 3), 100, np.uint8), "RGB")
    for _ in range(count):
        model.invoke()


def follow(variant: str, precision: str, count: int, frames: Path) -> None:
    """Whole frames; ends with an error if the person gets lost, since then the detector would be counted too."""
    best = ModelStore.default_precision
    # The detector in its best number format, whatever the landmark model's.
    ModelStore.default_precision = lambda *of: precision if of[2] == variant else best(*of)  # type: ignore[method-assign]
    overrides = {"model.model": variant, "model.threads": 1}
    estimator = PoseEstimator(load(overrides=overrides, environment={}).settings)
    pictures = np.fromfile(frames, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
    for number in range(count):
        frame = Frame(pictures[number], number / 30, number / 30, number / 30, number)
        estimate = estimator.process(frame)
        if number >= SETTLED and (not estimate.poses or estimate.detector_ran):
            sys.exit(f"frame {number}: the person is not followed")
        encode(pose_message("arm", number, frame, estimate.poses, 1.0))


if __name__ == "__main__":
    what, variant, precision, count, *rest = sys.argv[1:]
    if what == "model":
        invoke(variant, precision, int(count))
    else:
        follow(variant, precision, int(count), Path(rest[0]))
