"""models/manifest.toml: which files there are, where they came from, and what goes in and out of each."""

import tomllib
from pathlib import Path
from typing import Any

from edge.errors import ModelChecksumError
from models.build import flat
from models.build.upstream import Upstream, sha256_of

MODELS_DIR = Path(__file__).resolve().parents[1]
MANIFEST = MODELS_DIR / "manifest.toml"

HEADER = """\
# Written by `python -m models.build`. One table a model file: where it came from, its sum, and its tensors by name.
# `default_precision` names, for each TFLite runtime and variant, the precision that is the best one there as measured.
"""

MEANINGS = {
    "boxes": "2254 anchors x (x, y, width, height, then 4 keypoints x, y), input px, centres relative to the anchor",
    "keypoints": "2254 anchors x 4 keypoints (x, y), px from the anchor, true within 120 px",
    "keypoints_far": "the same, of any distance, coarser",
    "scores": "2254 anchors, logit of a person",
    "landmarks": "39 landmarks x (x, y, z in crop px, visibility logit, presence logit); 0-32 body, 33-34 for the ROI",
    "presence": "probability that a person is in the crop",
    "person": "edge-pose's own head: how much like a person the crop's content looks, a logit",
    "heatmap": "64 x 64 cells x 39 landmarks, logit",
    "world": "39 landmarks x (x, y, z), metres, origin at the midpoint of the hips",
    "landmarks_xy": "39 landmarks x (x, y), crop px",
    "landmarks_z": "39 landmarks, z in crop px, less is nearer, origin at the hips",
    "visibility": "39 landmarks, logit of being in the picture and not hidden",
    "landmark_presence": "39 landmarks, logit of being inside the picture",
}
BOXES_ALONE = "2254 anchors x (x, y, width, height), input px, centres relative to the anchor"
INPUT_RANGE = {"detector": [-1.0, 1.0], "landmarks": [0.0, 1.0]}


def entry(upstream: Upstream, precision: str, data: bytes, *, committed: bool) -> dict[str, Any]:
    """The manifest's table for one finished model."""
    model = flat.parse(data)
    graph = model.subgraphs[0]
    image = _tensor(graph.tensors[graph.inputs[0]])
    image |= {"order": "RGB", "range": INPUT_RANGE[upstream.role]}
    outputs = [_tensor(graph.tensors[i]) for i in graph.outputs]
    for output in outputs:
        name = output["name"]
        output["meaning"] = BOXES_ALONE if name == "boxes" and output["shape"][-1] == 4 else MEANINGS[name]
    return {
        "name": upstream.name,
        "role": upstream.role,
        "variant": upstream.variant,
        "precision": precision,
        "file": file_name(upstream, precision),
        "committed": committed,
        "bytes": len(data),
        "sha256": sha256_of(data),
        "licence": "Apache-2.0",
        "source": {
            "registry": upstream.package.registry,
            "package": upstream.package.name,
            "version": upstream.package.version,
            "path": upstream.path,
            "sha256": upstream.sha256,
        },
        "input": image,
        "outputs": sorted(outputs, key=lambda o: o["name"]),
    }


def file_name(upstream: Upstream, precision: str) -> str:
    """As in pose_landmark_lite-float16.tflite."""
    return f"{upstream.name}-{precision}.tflite"


def _tensor(tensor: flat.Tensor) -> dict[str, Any]:
    table = {
        "name": tensor.name.decode(),
        "shape": [int(n) for n in tensor.shape],
        "dtype": flat.DTYPES[tensor.type].__name__,
    }
    if table["dtype"] == "int8":
        table["scale"] = float(tensor.quantization.scale[0])
        table["zero_point"] = int(tensor.quantization.zeroPoint[0])
    return table


def read() -> dict[str, Any]:
    """The committed manifest; an empty one if there is none yet."""
    return tomllib.loads(MANIFEST.read_text()) if MANIFEST.exists() else {"schema": 1, "models": []}


def write(manifest: dict[str, Any]) -> None:
    """Replace the manifest; models in the order detector, lite, full, heavy and float16 first."""
    ranks = ["detector", "lite", "full", "heavy", "float16", "int8", "int8-full"]
    models = sorted(manifest["models"], key=lambda m: (ranks.index(m["variant"]), ranks.index(m["precision"])))
    lines = [HEADER.rstrip(), "schema = 1", "", "[default_precision]"]
    lines += [f"{_key(k)} = {_value(v)}" for k, v in manifest["default_precision"].items()]
    for model in models:
        lines += ["", "[[models]]"]
        plain = {k: v for k, v in model.items() if not isinstance(v, dict) and k != "outputs"}
        lines += [f"{_key(k)} = {_value(v)}" for k, v in plain.items()]
        lines += [f"{k} = {_value(v)}" for k, v in model.items() if isinstance(v, dict)]
        lines += ["outputs = [", *(f"    {_value(o)}," for o in model["outputs"]), "]"]
    MANIFEST.write_text("\n".join(lines) + "\n")


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else f'"{key}"'


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(_value(v) for v in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items())} }}"
    return repr(value)


def verify(manifest: dict[str, Any], folder: Path) -> list[str]:
    """Check every model file in `folder` against the manifest; returns a line a file.

    Raises ModelChecksumError, naming all that differ or are missing though they should be there.
    """
    lines, wrong = [], []
    for model in manifest["models"]:
        path = folder / model["file"]
        if not path.exists():
            if model["committed"]:
                wrong.append(f"{path} is missing")
            continue
        got = sha256_of(path.read_bytes())
        lines.append(f"{got}  {model['file']}")
        if got != model["sha256"]:
            wrong.append(f"{path} has SHA-256 {got}, the manifest says {model['sha256']}")
    if wrong:
        raise ModelChecksumError("; ".join(wrong))
    return lines
