"""The committed models: sums, tensors, and that the committed recipes still give the committed bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flatbuffers", reason="writes .tflite files: pip install 'edge-pose[build]'")

from ai_edge_litert import schema_py_generated as schema

from models.build import dead, first, flat, fold, int8, manifest, segments, sparse, surgery, writer
from models.build.recipe import Recipe, recipe_path
from models.build.upstream import UPSTREAM, sha256_of

TABLE = manifest.read()
MODELS = TABLE["models"]
QUANTIZED = [m for m in MODELS if m["precision"] != "float16"]

# Output -> its unit. One tensor has one scale, so it must have one unit.
UNITS = {
    "landmarks_xy": "px",
    "landmarks_z": "px",
    "visibility": "logit",
    "landmark_presence": "logit",
    "presence": "probability",
    "person": "logit",
    "heatmap": "logit",
    "world": "metre",
    "boxes": "px",
    "keypoints": "px",
    "keypoints_far": "px",
    "scores": "logit",
}
DETECTOR_OUTPUTS = {"boxes", "keypoints", "keypoints_far", "scores"}


def model_bytes(entry: dict[str, Any]) -> bytes:
    path = manifest.MODELS_DIR / entry["file"]
    if not entry["committed"] and not path.exists():
        pytest.skip(f"{path.name} is not in the repository: python -m models.build --variants {entry['variant']}")
    return path.read_bytes()


def float16_bytes(variant: str) -> bytes:
    (entry,) = (m for m in MODELS if (m["variant"], m["precision"]) == (variant, "float16"))
    return model_bytes(entry)


@pytest.mark.parametrize("entry", MODELS, ids=lambda m: m["file"])
def test_manifest_has_each_file_s_size_and_sum(entry):
    data = model_bytes(entry)
    assert len(data) == entry["bytes"]
    assert sha256_of(data) == entry["sha256"]


def test_every_committed_model_file_is_in_the_manifest():
    listed = {m["file"] for m in TABLE["models"]}
    assert {p.name for p in manifest.MODELS_DIR.glob("*.tflite")} <= listed


def test_verify_names_a_file_that_was_changed(tmp_path):
    entry = MODELS[0]
    (tmp_path / entry["file"]).write_bytes(model_bytes(entry)[:-1] + b"x")
    with pytest.raises(manifest.ModelChecksumError, match=entry["file"]):
        manifest.verify({"models": [entry]}, tmp_path)


@pytest.mark.parametrize("entry", MODELS, ids=lambda m: m["file"])
def test_tensors_are_as_the_manifest_says(entry):
    graph = flat.parse(model_bytes(entry)).subgraphs[0]
    found = {graph.tensors[i].name.decode(): [int(n) for n in graph.tensors[i].shape] for i in graph.outputs}
    assert found == {o["name"]: o["shape"] for o in entry["outputs"]}
    assert [int(n) for n in graph.tensors[graph.inputs[0]].shape] == entry["input"]["shape"]


@pytest.mark.parametrize("entry", QUANTIZED, ids=lambda m: m["file"])
def test_no_output_of_an_int8_model_mixes_units(entry):
    names = {o["name"] for o in entry["outputs"]}
    assert names <= UNITS.keys()
    assert names == (DETECTOR_OUTPUTS if entry["role"] == "detector" else UNITS.keys() - DETECTOR_OUTPUTS)


@pytest.mark.parametrize("entry", QUANTIZED, ids=lambda m: m["file"])
def test_a_pixel_enters_as_itself_less_128(entry):
    low, high = entry["input"]["range"]
    scale, zero = entry["input"]["scale"], entry["input"]["zero_point"]
    pixels = np.arange(256)
    real = (pixels - 128 - zero) * scale
    wanted = low + (high - low) * pixels / 255
    # The detector's half step is in its first bias instead.
    half_step = scale / 2 if entry["role"] == "detector" else 0.0
    assert np.abs(real + half_step - wanted).max() < 1e-6


@pytest.mark.parametrize("entry", [m for m in QUANTIZED if m["precision"] == "int8-full"], ids=lambda m: m["file"])
def test_every_op_of_int8_full_is_integer(entry):
    model = flat.parse(model_bytes(entry))
    graph = model.subgraphs[0]
    types = {flat.DTYPES[t.type].__name__ for t in graph.tensors}
    assert types <= {"int8", "int32"}
    names = {flat.op_name(model, op) for op in graph.operators}
    assert not names & {"DEPTH_TO_SPACE", "DEQUANTIZE", "QUANTIZE", "DENSIFY"}


@pytest.mark.parametrize("entry", MODELS, ids=lambda m: m["file"])
def test_constants_are_aligned_and_shapes_static(entry):
    data = model_bytes(entry)
    model = flat.parse(data)
    assert all((np.array(t.shape) > 0).all() for t in model.subgraphs[0].tensors if t.shape is not None)
    large = [bytes(bytearray(b.data)) for b in model.buffers if b.data is not None and len(b.data) > 2000]
    starts = [data.find(constant) for constant in large]
    assert starts
    assert all(start % flat.CONSTANT_ALIGNMENT == 0 for start in starts)


@pytest.mark.parametrize("entry", QUANTIZED, ids=lambda m: m["file"])
def test_the_committed_recipe_gives_the_committed_bytes(entry):
    model = UPSTREAM[entry["variant"]]
    assert int8.build(model, entry["precision"], float16_bytes(entry["variant"])) == model_bytes(entry)


@pytest.mark.parametrize("entry", MODELS, ids=lambda m: m["file"])
def test_xnnpack_takes_the_whole_model_as_one_partition(entry):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    run = interpreter.Interpreter(model_content=model_bytes(entry))
    run.allocate_tensors()
    (source,), outputs = run.get_input_details(), run.get_output_details()
    nodes = run._get_ops_details()  # the only way to see what a delegate took
    (partition,) = [node for node in nodes if node["op_name"] == "DELEGATE"]
    computed = {int(i) for node in nodes if node is not partition for i in node["outputs"]}
    # It reads nothing but the input and constants, and writes every output: so nothing is left outside.
    assert {int(i) for i in partition["inputs"]} & (computed | {source["index"]}) == {source["index"]}
    assert {output["index"] for output in outputs} <= {int(i) for i in partition["outputs"]}


def test_a_recipe_survives_saving(tmp_path):
    recipe = Recipe.load(recipe_path("lite", "int8"))
    assert recipe.dropped
    assert recipe.edges
    recipe.save(tmp_path / "again.npz")
    made = []
    for one in (recipe, Recipe.load(tmp_path / "again.npz")):
        prepared = surgery.prepare(float16_bytes("lite"), "landmarks", "int8")
        dead.drop(prepared, one.dropped)
        segments.cut(prepared, one.edges)
        made.append(writer.write(prepared, one, "int8", "test"))
    assert made[0] == made[1]


@pytest.mark.parametrize("precision", ["int8", "int8-full"])
def test_float16_is_prepared_without_changing_what_it_computes(precision):
    """Heads at low resolution, split outputs, bridges, a wide stem and merged sums: the same but for float rounding."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    outputs = {}
    for variant in ("detector", "lite"):
        original = float16_bytes(variant)
        prepared = flat.serialize(surgery.prepare(original, UPSTREAM[variant].role, precision))
        for label, data in (("original", original), ("prepared", prepared)):
            run = interpreter.Interpreter(model_content=data)
            run.allocate_tensors()
            (source,) = run.get_input_details()
            run.set_tensor(source["index"], np.random.default_rng(0).random(source["shape"], dtype=np.float32))
            run.invoke()
            outputs[variant, label] = {o["name"]: run.get_tensor(o["index"]).copy() for o in run.get_output_details()}
    whole, parts = outputs["detector", "original"], outputs["detector", "prepared"]
    assert np.abs(whole["scores"] - parts["scores"]).max() < 1e-3
    for name in ("keypoints", "keypoints_far"):
        boxes = np.concatenate([parts["boxes"], parts[name]], axis=2)
        assert np.abs(whole["boxes"] - boxes).max() < 1e-3
    landmarks = outputs["lite", "original"]["landmarks"].reshape(39, 5)
    split = outputs["lite", "prepared"]
    parts = [split["landmarks_xy"].reshape(39, 2), *(split[n].reshape(39, 1) for n in list(UNITS)[1:4])]
    assert np.abs(np.concatenate(parts, axis=1) - landmarks).max() < 1e-2
    assert np.abs(split["heatmap"] - outputs["lite", "original"]["heatmap"]).max() < 1e-2


def run_on(data: bytes, inputs: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    run = interpreter.Interpreter(model_content=data)
    run.allocate_tensors()
    results = []
    for value in inputs:
        run.set_tensor(run.get_input_details()[0]["index"], value)
        run.invoke()
        results.append({o["name"]: run.get_tensor(o["index"]).copy() for o in run.get_output_details()})
    return results


def test_pixels_read_in_pairs_give_the_same_integers(monkeypatch):
    monkeypatch.setattr(first, "pair_pixels", lambda _: False)
    plain = int8.build(UPSTREAM["lite"], "int8", float16_bytes("lite"))
    monkeypatch.undo()
    paired = int8.build(UPSTREAM["lite"], "int8", float16_bytes("lite"))
    assert plain != paired
    images = list(np.random.default_rng(0).integers(-128, 128, (2, 1, 256, 256, 3)).astype(np.int8))
    for before, after in zip(run_on(plain, images), run_on(paired, images), strict=True):
        assert all((before[name] == after[name]).all() for name in UNITS.keys() - DETECTOR_OUTPUTS)


def test_channels_that_are_left_out_said_nothing():
    """On pictures that no calibration saw: noise, smooth and not."""
    recipe = Recipe.load(recipe_path("lite", "int8"))
    rng = np.random.default_rng(0)
    images = [rng.random((1, 256, 256, 3), dtype=np.float32), np.full((1, 256, 256, 3), 0.4, np.float32)]
    whole, less = (surgery.prepare(float16_bytes("lite"), "landmarks", "int8") for _ in range(2))
    dead.drop(less, recipe.dropped)
    flat.prune(less)
    assert len(flat.serialize(less)) < 0.95 * len(flat.serialize(whole))
    for before, after in zip(*(run_on(flat.serialize(m), images) for m in (whole, less)), strict=True):
        assert np.abs(before["landmarks_xy"] - after["landmarks_xy"]).max() < 0.05
        assert np.abs(before["heatmap"] - after["heatmap"]).max() < 0.01


@pytest.mark.parametrize("shape", [(40, 1, 1, 12), (12, 1, 1, 40), (8, 1, 1, 700)])
def test_sparse_constants_are_what_they_were(shape):
    rng = np.random.default_rng(0)
    weights = (rng.integers(-127, 128, shape) * (rng.random(shape) < 0.25)).astype(np.int8)
    values, sparsity = sparse.encode(weights)
    assert len(values) == np.count_nonzero(weights)
    tensor = schema.TensorT()
    tensor.shape, tensor.sparsity = np.array(shape), sparsity
    assert (fold.dense(tensor, values) == weights).all()


def test_only_large_1x1_weights_with_many_zeros_are_stored_sparsely():
    assert sparse.worth_it(np.zeros((1152, 1, 1, 192), np.int8))
    assert not sparse.worth_it(np.ones((1152, 1, 1, 192), np.int8))
    assert not sparse.worth_it(np.zeros((8, 1, 1, 8), np.int8))
    assert not sparse.worth_it(np.zeros((192, 3, 3, 192), np.int8))


def test_the_detector_s_int8_file_is_no_larger_than_upstream_s():
    sizes = {m["precision"]: m["bytes"] for m in MODELS if m["role"] == "detector"}
    assert sizes["int8"] <= 2_959_046


@pytest.mark.parametrize(
    ("variant", "upstream_bytes"), [("lite", 2_819_824), ("full", 6_440_512), ("heavy", 27_709_200)]
)
def test_no_landmark_file_is_larger_than_upstream_s(variant, upstream_bytes):
    assert all(m["bytes"] <= upstream_bytes for m in MODELS if m["variant"] == variant)


def test_there_is_a_recipe_for_every_int8_model_and_no_other():
    wanted = {recipe_path(m["variant"], m["precision"]).name for m in QUANTIZED}
    assert {path.name for path in recipe_path("lite", "int8").parent.glob("*.npz")} == wanted


def test_models_are_found_where_the_build_writes_them():
    assert Path(manifest.MANIFEST).is_file()
