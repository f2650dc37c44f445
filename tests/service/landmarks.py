"""Landmarks of a clip's frames in one fixed region, written as `predict --json` does: landmarks.py CLIP PRECISION OUT.

Without a detector and without following, every machine looks at the same region: what may differ is the sampling and
the landmark model.
"""

import json
import sys
from pathlib import Path

import cv2

from edge.landmarks import LandmarkModel
from edge.manifest import ModelStore
from edge.pose import Frame, Roi
from edge.runtime import Model, load_runtime

# Round the person in tests/service/clip.py's pictures, turned a little.
REGION = Roi(x_px=350.0, y_px=187.0, side_px=340.0, rotation_rad=0.1)


def main() -> None:
    """Look at each frame."""
    clip, precision, target = sys.argv[1:]
    store, runtime = ModelStore(), load_runtime()
    if precision == "auto":
        precision = store.default_precision(runtime.name, "lite")
    model = LandmarkModel(Model(store, store.find("landmarks", "lite", precision), runtime, "cpu", 1), world=False)
    capture = cv2.VideoCapture(clip)
    results = []
    while True:
        more, image = capture.read()
        if not more:
            break
        height, width = image.shape[:2]
        frame = Frame(image, time_s=float(len(results)), epoch_s=0.0, available_s=0.0)
        model.load(frame, REGION)
        keypoints = model.infer(REGION).keypoints_px[:, :2] / (width, height)
        results.append({"frame": len(results), "poses": [{"keypoints": keypoints.tolist()}]})
    Path(target).write_text(json.dumps({clip: results}))


main()
