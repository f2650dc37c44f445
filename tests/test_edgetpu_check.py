"""check-edgetpu on models made for it: some that Coral's rules allow, and one for each rule that is broken.

Coral's own pairs of plain and compiled models are in a repository of test data, and in no package registry: not here.
"""

import random
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from edgetpu_models import FLOAT32, INT8, Builder, compiled, detector, landmarks

from edge.cli import main
from edge.edgetpu_check import check, judge_graph
from edge.edgetpu_graph import read_graph
from edge.errors import ModelError

SHAPE = (1, 8, 8, 16)
INT32_AXIS = np.array([0], np.int32)


def judged(data):
    return judge_graph(read_graph(data, "model"))


def one_op(name, *, shape=SHAPE, output=None, constants=(), version=1, source_kind=INT8, **options):
    """A model of a single operator behind the input."""
    build = Builder()
    source = build.tensor(shape, source_kind)
    others = [build.constant(value) for value in constants]
    end = build.tensor(output or shape)
    build.op(name, [source, *others], [end], version, **options)
    return build.finish([source], [end])


def conv(**options):
    build = Builder()
    source = build.tensor(SHAPE)
    end = build.conv(source, 4, **options)
    return build.finish([source], [end])


GOOD = {
    "convolution": conv(),
    "convolution, one scale": conv(per_channel=False),
    "addition": one_op("ADD", constants=[np.zeros(SHAPE, np.int8)]),
    "pad": one_op("PAD", output=(1, 10, 10, 16), constants=[np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)]),
    "mean over the picture": one_op("MEAN", output=(1, 1, 1, 16), constants=[np.array([1, 2], np.int32)]),
    "resize": one_op("RESIZE_BILINEAR", output=(1, 16, 16, 16), constants=[np.array([16, 16], np.int32)]),
    "softmax": one_op("SOFTMAX", shape=(1, 16_000)),
    "zeros joined": one_op(
        "CONCATENATION",
        output=(1, 8, 8, 32),
        constants=[np.zeros(SHAPE, np.int8)],
        kind="ConcatenationOptions",
        axis=3,
        fusedActivationFunction=0,
    ),
    "our detector's interface": detector(),
    "our landmarks' interface": landmarks(),
}
BAD = {
    "depth to space": (one_op("DEPTH_TO_SPACE", output=(1, 16, 16, 4)), "not among the operators"),
    "float": (one_op("RELU", source_kind=FLOAT32), "it works on FLOAT32; INT8"),
    "float weights": (conv(filter_type=np.float32), "its weights are FLOAT32"),
    "batch of two": (one_op("RELU", shape=(2, 8, 8, 16)), "only the inner three may exceed 1"),
    "pads the batch": (
        one_op("PAD", output=(3, 8, 8, 16), constants=[np.array([[1, 1], [0, 0], [0, 0], [0, 0]], np.int32)]),
        "pads the batch",
    ),
    "mean over the batch": (one_op("MEAN", output=(1, 8, 8, 16), constants=[INT32_AXIS]), "reduces the batch"),
    "mean over odd channels": (
        one_op("MEAN", shape=(1, 8, 8, 3), output=(1, 8, 8, 1), constants=[np.array([3], np.int32)]),
        "not a multiple of 4",
    ),
    "activation in a pool": (
        one_op("MAX_POOL_2D", kind="Pool2DOptions", fusedActivationFunction=schema.ActivationFunctionType.RELU6),
        "fused activation",
    ),
    "something joined": (
        one_op("CONCATENATION", output=(1, 8, 8, 32), constants=[np.ones(SHAPE, np.int8)]),
        "not all zeros",
    ),
    "long softmax": (one_op("SOFTMAX", shape=(1, 16_001)), "more than 16000"),
    "softmax of a picture": (one_op("SOFTMAX"), "not one-dimensional"),
    "uneven dilation": (
        one_op(
            "DEPTHWISE_CONV_2D",
            constants=[np.ones((1, 3, 3, 16), np.int8)],
            kind="DepthwiseConv2DOptions",
            dilationHFactor=2,
            dilationWFactor=1,
        ),
        "dilation differs",
    ),
    "strided slice": (
        one_op("STRIDED_SLICE", constants=[np.zeros(4, np.int32), np.ones(4, np.int32), np.full(4, 2, np.int32)]),
        "strides are not all 1",
    ),
    "new fully connected": (
        one_op("FULLY_CONNECTED", shape=(1, 16), constants=[np.ones((16, 16), np.int8)], version=9),
        "version 9",
    ),
    "fully connected of many": (
        one_op("FULLY_CONNECTED", shape=(1, 4, 16), constants=[np.ones((16, 16), np.int8)]),
        "not one-dimensional",
    ),
    "corners and centres": (
        one_op(
            "RESIZE_BILINEAR",
            output=(1, 16, 16, 16),
            constants=[np.array([16, 16], np.int32)],
            kind="ResizeBilinearOptions",
            alignCorners=True,
            halfPixelCenters=True,
        ),
        "at once",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_the_rules_allow_maps_as_a_whole(name):
    report = judged(GOOD[name])
    assert report.maps, [judged.remarks for judged in report.ops]
    assert not report.whole
    assert report.memory == "fits"


@pytest.mark.parametrize("name", BAD)
def test_what_breaks_a_rule_stays_on_the_cpu_and_the_reason_is_said(name):
    data, reason = BAD[name]
    report = judged(data)
    assert not report.maps
    assert [judged.verdict for judged in report.ops] == ["cpu"]
    assert reason in " ".join(remark.reason for remark in report.ops[0].remarks)


def test_per_channel_scales_along_the_wrong_axis_and_computed_weights_are_refused():
    build = Builder()
    source, weights = build.tensor(SHAPE), build.tensor((4, 1, 1, 16))
    end = build.tensor((1, 8, 8, 4))
    build.op("CONV_2D", [source, weights], [end], 3)
    reasons = [remark.reason for remark in judged(build.finish([source], [end])).ops[0].remarks]
    assert any("must be constants" in reason for reason in reasons)
    build = Builder()
    source = build.tensor(SHAPE)
    weights = build.constant(np.ones((16, 1, 1, 16), np.int8), scales=[0.1] * 16, dimension=3)
    end = build.tensor(SHAPE)
    build.op("CONV_2D", [source, weights], [end], 3)
    assert "each element of axis 3" in judged(build.finish([source], [end])).ops[0].remarks[0].reason


def test_a_shape_that_is_only_known_at_run_time_is_refused():
    build = Builder()
    source = build.tensor(SHAPE)
    build.graph.tensors[source].shapeSignature = np.array([-1, 8, 8, 16], np.int32)
    end = build.conv(source, 4)
    report = judged(build.finish([source], [end]))
    assert "known at run time" in report.ops[0].remarks[0].reason
    assert "batch of 1" in report.whole[0]


def test_what_follows_an_operator_on_the_cpu_stays_there():
    build = Builder()
    source = build.tensor(SHAPE)
    before = build.conv(source, 16)
    odd = build.tensor((1, 16, 16, 4))
    build.op("DEPTH_TO_SPACE", [before], [odd])
    end = build.conv(odd, 4)
    beside = build.conv(before, 4)
    report = judged(build.finish([source], [end, beside]))
    assert [op.verdict for op in report.ops] == ["maps", "cpu", "cpu", "maps"]
    assert "does not go back" in report.ops[2].remarks[0].reason


def test_a_large_resize_is_neither_promised_nor_refused():
    data = one_op("RESIZE_BILINEAR", output=(1, 256, 256, 16), constants=[np.array([256, 256], np.int32)])
    report = judged(data)
    assert [op.verdict for op in report.ops] == ["unsure"]
    assert not report.maps


@pytest.mark.parametrize(("mib", "word"), [(1, "fits"), (5, "fits"), (6.5, "may fit"), (8, "does not fit")])
def test_memory_is_that_of_the_parameters(mib, word):
    build = Builder()
    source = build.tensor((1, 1, 1, 1024))
    channels = int(mib * 1024)
    end = build.conv(source, channels)
    report = judged(build.finish([source], [end]))
    assert report.memory == word
    assert report.parameter_bytes == channels * 1024 + channels * 4
    assert report.largest_activation_bytes == 1024 + channels


def test_a_compiled_model_is_known_as_one(tmp_path, capsys):
    path = tmp_path / "x_edgetpu.tflite"
    path.write_bytes(compiled((1, 8, 8, 3), [("out", (1, 4), 0.1)]))
    assert main(["models", "check-edgetpu", str(path)]) == 0
    assert "comes from the compiler" in capsys.readouterr().out


def test_the_command_says_which_operators_and_why(tmp_path, capsys):
    good, bad = tmp_path / "good.tflite", tmp_path / "bad.tflite"
    good.write_bytes(detector())
    bad.write_bytes(BAD["depth to space"][0])
    assert main(["models", "check-edgetpu", str(good)]) == 0
    assert "Every operator should run on the Edge TPU" in capsys.readouterr().out
    assert main(["models", "check-edgetpu", str(good), str(bad)]) == 1
    assert "cpu       0 DEPTH_TO_SPACE: not among the operators" in capsys.readouterr().out
    assert main(["models", "list", str(good)]) == 2
    assert "takes no FILE" in capsys.readouterr().err


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        check(tmp_path / "none.tflite")
    with pytest.raises(ModelError, match="cannot be read"):
        check(tmp_path)
    with pytest.raises(ModelError, match=r"not a \.tflite model"):
        check(Path("/dev/zero"))  # which never ends
    for content in (b"", b"TFL3", b"\0\0\0\0TFL3", b"\x1c\0\0\0TFL3" + bytes(200)):
        (tmp_path / "x.tflite").write_bytes(content)
        with pytest.raises(ModelError, match=r"not a \.tflite model"):
            check(tmp_path / "x.tflite")


def test_a_damaged_model_is_refused_or_judged_and_nothing_else():
    """Whatever a byte becomes, the reader ends in a report or in ModelError."""
    whole, chance = conv(), random.Random(0)  # noqa: S311 -- a repeatable test
    outcomes = set()
    for _ in range(300):
        data = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            judged(bytes(data))
            outcomes.add("report")
        except ModelError:
            outcomes.add("refused")
    assert outcomes == {"report", "refused"}


def shipped(store, *precisions):
    found = [entry for entry in store.manifest.models if entry.precision in precisions and entry.committed]
    return {entry.file: (entry, check(store.path(entry))) for entry in found}


def test_the_models_that_we_ship_for_the_edge_tpu_map_as_a_whole(store):
    found = shipped(store, "int8-full")
    assert {entry.variant for entry, _ in found.values()} >= {"detector", "lite", "full"}
    for file, (entry, report) in found.items():
        assert report.maps, file
        assert report.memory == "fits", file
        graph = read_graph(store.read(entry), file)
        assert {tensor.dtype for tensor in (*graph.inputs, *graph.outputs)} == {"INT8"}, file
        assert "DEPTH_TO_SPACE" not in {op.name for op in graph.ops}, file
        if entry.role == "landmarks":
            assert "heatmap" in {tensor.name for tensor in graph.outputs}, file


def test_each_of_our_other_models_is_refused_for_what_it_is(store):
    for file, (entry, report) in shipped(store, "float16", "int8").items():
        assert not report.maps, file
        reasons = " ".join(remark.reason for judged in report.ops for remark in judged.remarks)
        if entry.precision == "float16":
            assert any("FLOAT32; INT8 is expected" in complaint for complaint in report.whole), file
            assert "it makes floating point numbers" in reasons, file
            assert all(judged.verdict == "cpu" for judged in report.ops), file
            assert report.parameter_bytes == 0, file


def test_both_models_on_one_chip_are_judged_together(capsys):
    assert main(["models", "check-edgetpu"]) == 0
    printed = capsys.readouterr().out
    assert "pose_detector and pose_landmark_lite on one Edge TPU: parameters " in printed
    assert "pose_detector and pose_landmark_full on one Edge TPU: parameters " in printed
