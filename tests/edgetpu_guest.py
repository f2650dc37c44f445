"""Under one TFLite runtime: every way in which the Edge TPU can fail, met by the product's own code.

Usage: python edgetpu_guest.py RUNTIME LIBRARY MODELS_FOLDER. Prints a JSON object: for each case what happened.
The cases are those of delegate/test_delegate.c, and some of the library itself.
"""

import json
import logging
import os
import sys
from pathlib import Path

import numpy as np

from edge import edgetpu
from edge.config_load import load
from edge.errors import EdgePoseError
from edge.estimator import PoseEstimator
from edge.manifest import ModelStore
from edge.messages import encode
from edge.pose import Frame
from edge.run import describe
from edge.runtime import Model, load_runtime

FRAMES = 4


class Logged(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def attempt(mode: str, overrides: dict[str, object], present: list[edgetpu.EdgeTpu] | None = None) -> dict[str, object]:
    """Load the models and follow somebody through some frames."""
    os.environ["TEST_DELEGATE"] = mode
    logged = Logged()
    logging.getLogger().addHandler(logged)
    real_devices = edgetpu.devices
    if present is not None:
        edgetpu.devices = lambda: present
    frames = 0
    try:
        settings = load(overrides={"tracker.idle_fps": 0.0, **overrides}, environment={}).settings
        estimator = PoseEstimator(settings)
        for number in range(FRAMES):
            picture = np.zeros((240, 320, 3), np.uint8)
            estimator.process(Frame(picture, time_s=number / 10, epoch_s=0.0, available_s=0.0))
            frames += 1
        return {"frames": frames, "info": json.loads(encode(describe("guest", estimator))), "log": logged.lines}
    except EdgePoseError as error:
        return {"frames": frames, "error": type(error).__name__, "text": str(error), "log": logged.lines}
    finally:
        edgetpu.devices = real_devices
        logging.getLogger().removeHandler(logged)


def plain(runtime: str, library: str, models: str) -> dict[str, object]:
    """Put a model that was not compiled on the device."""
    store = ModelStore(Path(models))
    try:
        Model(store, store.find("landmarks", "lite", "int8-full"), load_runtime(runtime), "edgetpu", 1, library=library)
    except EdgePoseError as error:
        return {"error": type(error).__name__, "text": str(error)}
    return {}


def main(runtime: str, library: str, models: str) -> None:
    """Every case."""
    common = {"model.runtime": runtime, "model.directory": models, "model.edgetpu_library": library}
    on_tpu = {**common, "model.device": "edgetpu:usb", "model.detector_device": "cpu"}
    nowhere = Path("/nonexistent/node")
    here = [edgetpu.EdgeTpu("usb", "1-1", Path("/dev/null"), 480)]
    locked = [edgetpu.EdgeTpu("usb", "1-1", nowhere, 5000)]
    cases = {
        "cpu": attempt("", {**common, "model.device": "cpu"}),
        "well": attempt("", on_tpu),
        "both": attempt("", {**common, "model.device": "edgetpu"}),
        "two": attempt("", {**common, "model.device": "edgetpu:1", "model.detector_device": "edgetpu:pci:0"}),
        "no-device": attempt("refuse-create", on_tpu, []),
        "other-device": attempt("refuse-create", {**on_tpu, "model.device": "edgetpu:usb:3"}, here),
        "permission": attempt("refuse-create", on_tpu, locked),
        "busy": attempt("refuse-create", on_tpu, here),
        "refuse-apply": attempt("refuse-apply", on_tpu),
        "refuse-prepare": attempt("refuse-prepare", on_tpu),
        "unplugged": attempt("fail:3", on_tpu),
        "library-missing": attempt("", {**on_tpu, "model.edgetpu_library": "/nonexistent/libedgetpu.so.1"}),
        "library-broken": attempt("", {**on_tpu, "model.edgetpu_library": __file__}),
        "library-other": attempt("", {**on_tpu, "model.edgetpu_library": "libm.so.6"}),
        "plain": plain(runtime, library, models),
        "precision": attempt("", {**on_tpu, "model.precision": "float16"}),
        "fallback-device": attempt("refuse-create", {**on_tpu, "model.fallback": "cpu"}, []),
        "fallback-refused": attempt("refuse-prepare", {**on_tpu, "model.fallback": "cpu"}),
        "fallback-unused": attempt("", {**on_tpu, "model.fallback": "cpu"}),
    }
    print(json.dumps(cases))


if __name__ == "__main__":
    main(*sys.argv[1:])
