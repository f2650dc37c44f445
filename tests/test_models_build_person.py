"""The landmark models' head of our own: the same in every precision, and upstream's outputs are not touched by it."""

import numpy as np
import pytest
from conftest import frame

pytest.importorskip("flatbuffers", reason="writes .tflite files: pip install 'edge-pose[build]'")

from edge.pose import Roi
from edge.roi import sample
from models.build import flat, fold, int8, manifest, person_head, surgery
from models.build.person_head import Head, head_path
from models.build.runner import Runner
from models.build.upstream import UPSTREAM

VARIANTS = ("lite", "full")


def model_bytes(variant, precision):
    return (manifest.MODELS_DIR / f"pose_landmark_{variant}-{precision}.tflite").read_bytes()


@pytest.fixture(scope="module")
def pictures(clip_frames):
    """Two people, as the pipeline shows them to the model, and trees before houses."""
    regions = (Roi(648, 249, 508, -0.03), Roi(1118, 725, 550, 0.2), Roi(1525, 225, 450, 0.0))
    crops = [np.empty((256, 256, 3), np.uint8) for _ in regions]
    for region, crop in zip(regions, crops, strict=True):
        sample(frame(clip_frames[30]), region, crop, zero_border=False)
    return [crop[:, :, ::-1] for crop in crops]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_head_is_the_weighted_mean_of_the_features(variant, pictures):
    data = model_bytes(variant, "float16")
    features, run = Runner(person_head.exposed(data)), Runner(data)
    head = Head.load(head_path(variant))
    for picture in pictures:
        wanted = features(picture)["features"][0].mean(axis=(0, 1)) @ head.weights + head.bias
        assert run(picture)["person"].shape == (1, 1)
        assert float(run(picture)["person"][0, 0]) == pytest.approx(float(wanted), abs=0.02)  # weights are float16


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", ["int8", "int8-full"])
def test_int8_models_see_as_much_of_a_person(variant, precision, pictures):
    runs = [Runner(model_bytes(variant, p)) for p in ("float16", precision)]
    exact, seen = np.array([[float(run(picture)["person"][0, 0]) for picture in pictures] for run in runs])
    assert min(seen[:2]) > seen[2] + 2
    assert np.abs(seen - exact).max() < 0.3


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", ["int8", "int8-full"])
def test_int8_reads_the_features_that_it_has(variant, precision):
    graph = flat.parse(model_bytes(variant, precision)).subgraphs[0]
    *_, features, cells, mean = ([int(n) for n in graph.tensors[op.inputs[0]].shape] for op in graph.operators)
    assert (cells, mean) == ([1, 8, 8, 1], [1, 1, 1, 1])
    _, _, factors = int8.prepare(UPSTREAM[variant], precision, model_bytes(variant, "float16"))
    head = Head.load(head_path(variant))
    assert features == [1, 8, 8, np.count_nonzero(factors)]
    assert len(factors) == len(head.weights)
    assert not head.weights[factors == 0].any()


def test_without_the_head_a_model_is_what_quantization_began_with():
    model = fold.to_float32(model_bytes("lite", "float16"))
    person_head.strip(model)
    names = {model.subgraphs[0].tensors[i].name.decode() for i in model.subgraphs[0].outputs}
    assert names == set(fold.LANDMARK_OUTPUTS.values())
    prepared = surgery.prepare(model_bytes("lite", "float16"), "landmarks", "int8")
    assert b"person" not in {prepared.subgraphs[0].tensors[i].name for i in prepared.subgraphs[0].outputs}


def test_a_variant_without_a_head_stays_as_it_is():
    data = model_bytes("lite", "float16")
    assert person_head.add(data, "none") == data
