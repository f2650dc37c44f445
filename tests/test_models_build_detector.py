"""The detector's own steps of the quantizer, on the detector itself."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the quantizer's steps need torch: pip install 'edge-pose[build]'")
pytest.importorskip("flatbuffers", reason="writes .tflite files: pip install 'edge-pose[build]'")

from models.build import detector_bias, detector_heads, detector_ranges, equalize, fold, manifest, plan, ranges, surgery  # noqa: E402 -- after the skips
from models.build.graph import NO_ACTIVATION, Net  # noqa: E402 -- after the skips
from models.build.ranges import Grid  # noqa: E402 -- after the skips
from models.build.sequential import Quantized  # noqa: E402 -- after the skips

FLOAT16 = manifest.MODELS_DIR / "pose_detector-float16.tflite"


@pytest.fixture(scope="module")
def net():
    torch.set_grad_enabled(False)
    return Net(surgery.prepare(FLOAT16.read_bytes(), "detector", "int8"))


@pytest.fixture(scope="module")
def images():
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_only_the_first_bottleneck_is_a_pair_that_nobody_else_reads():
    assert detector_heads.merge_linear_pairs(fold.to_float32(FLOAT16.read_bytes())) == 1


def test_the_stem_and_a_block_of_the_pyramid_stay_float_in_int8_and_nothing_in_int8_full(net):
    ops = [net.ops[index] for index in sorted(plan.float_ops(net, "detector", "int8"))]
    assert [(op.index, net.shapes[op.output][1:]) for op in ops if op.index <= 10] == [
        (0, [226, 226, 3]),
        (1, [112, 112, 24]),
        (2, [112, 112, 24]),
        (3, [112, 112, 64]),
        (4, [114, 114, 64]),
        (5, [56, 56, 64]),
        (6, [56, 56, 24]),
        (10, [56, 56, 24]),
    ]
    later = [op for op in ops if op.index > 10]
    assert [(op.name, net.shapes[op.output][1:]) for op in later] == [
        (name, [14, 14, 192]) for name in ("ADD", "DEPTHWISE_CONV_2D", "CONV_2D", "ADD")
    ]
    assert plan.float_ops(net, "detector", "int8-full") == set()


def test_in_int8_full_the_stem_and_the_wide_maps_linear_tensors_have_two_segments_a_channel():
    net = Net(surgery.prepare(FLOAT16.read_bytes(), "detector", "int8-full"))
    counts = plan.segment_counts(net, "detector", "int8-full")
    assert [net.shapes[t][1:] for t, count in counts.items() if count == 2] == [
        *([112, 112, 24],) * 2,
        *([56, 56, 24],) * 2,
        *([28, 28, 40],) * 2,
    ]
    alone = [t for t, count in counts.items() if count == 1]
    assert all(net.producer[t].depthwise and net.producer[t].activation == NO_ACTIVATION for t in alone)
    assert sorted(net.shapes[t][1] for t in alone) == [7, 14, 14, 14, 28, 28, 28]


def test_a_clip_before_relu6_leaves_room_for_what_the_other_side_can_bring_back(net):
    wide = equalize.Stats(-50.0, 50.0, -50.0, 50.0, None, None)
    clips = ranges.lossless_clips(net, dict.fromkeys(net.shapes, wide))
    sums = [t for t in clips if any(net.producer[i].activation == NO_ACTIVATION for i in _other_side(net, t))]
    assert sorted(clips.values()) == [(-12.0, 6.0)] * 2 + [(-6.0, 6.0)] * 2
    assert all(clips[t] == (-12.0, 6.0) for t in sums)


def _other_side(net, tensor):
    return [i for op in net.consumers[tensor] for i in op.inputs if i != tensor and net.producer[i].name == "ADD"]


def test_a_run_from_one_tensor_on_gives_what_a_whole_run_gives(net, images):
    exact = detector_ranges._run(net, {net.input: images})
    tensor = detector_ranges.linear_tensors(net)[20]
    changed = exact[tensor] + 0.1
    whole = net.forward(images, lambda index, value: changed if index == tensor else value)
    partial = detector_ranges._run(net, {tensor: changed}, exact)
    for output, name in net.names.items():
        assert torch.equal(partial[output], whole[name])


def test_the_share_of_a_range_that_harms_least_is_chosen(net, images, monkeypatch):
    monkeypatch.setattr(detector_ranges, "LEAST_LOGIT", -1e9)
    tensor = detector_ranges.linear_tensors(net)[-1]
    monkeypatch.setattr(detector_ranges, "linear_tensors", lambda _: [tensor])
    monkeypatch.setattr(detector_ranges, "SHARES", (1.0, 0.01))
    exact = detector_ranges._run(net, {net.input: images})[tensor]
    low, high = float(exact.min()), float(exact.max())
    stats = {tensor: equalize.Stats(low, high, low, high, None, None)}
    assert detector_ranges.choose_shares(net, stats, images) == {tensor: 1.0}


def test_heads_biases_are_corrected_where_people_are(net, images, monkeypatch):
    monkeypatch.setattr(detector_bias, "DOUBT", 0.0)
    outputs = {index: Grid(1.0, 0) for index in net.names}
    off = {i: bias + 3.0 if len(bias) == 2 else bias for i, (_, bias) in net.params.items()}  # both layers' score heads
    result = Quantized(outputs, set(), biases=dict(off))
    detector_bias.correct(net, images, result)
    for index, (_, bias) in net.params.items():
        if len(bias) == 2:
            assert np.allclose(result.biases[index], bias, atol=0.6)
