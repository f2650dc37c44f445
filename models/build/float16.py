"""First half of the build: the float16 models, proved equal to upstream."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.build import clips, fold, manifest, person_head, prove
from models.build.upstream import Upstream, upstream_bytes

SIDES = {"detector": 224, "landmarks": 256}


def proof_images(role: str) -> list[NDArray[np.float32]]:
    """Float32 [1, side, side, 3] in the model's input range: two of noise, then six frames of the demo clip."""
    rng = np.random.default_rng(0)
    side, (low, high) = SIDES[role], manifest.INPUT_RANGE[role]
    pictures: list[NDArray[Any]] = [rng.random((side, side, 3)) for _ in range(2)]
    demo = clips.frames(clips.extracted(*clips.DEMO_CLIP), step=60)
    pictures.extend(cv2.resize(frame, (side, side)) / 255.0 for frame in demo)
    return [(low + (high - low) * p[None]).astype(np.float32) for p in pictures[:8]]


def build(model: Upstream) -> bytes:
    """The float16 .tflite of one upstream model; raises AssertionError if any kept output differs from upstream's."""
    source = upstream_bytes(model)
    ours = person_head.add(fold.to_float16(source, model.role, f"{model.name}, float16, edge-pose"), model.variant)
    values = prove.prove_equal(source, ours, model.role, proof_images(model.role))
    print(
        f"{model.name} float16: {len(ours):,} bytes (upstream {len(source):,}), {values:,} values bit-equal", flush=True
    )
    return ours
