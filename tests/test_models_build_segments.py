"""Tensors cut into segments, and sums merged into convolutions, compute what they did."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the quantizer's steps need torch: pip install 'edge-pose[build]'")
pytest.importorskip("flatbuffers", reason="writes .tflite files: pip install 'edge-pose[build]'")

from ai_edge_litert import schema_py_generated as schema  # noqa: E402 -- after the skips
from small_net import small_model  # noqa: E402 -- after the skips

from models.build import equalize, flat, manifest, plan, residuals, segments, surgery  # noqa: E402 -- after the skips
from models.build.graph import RELU6, Net  # noqa: E402 -- after the skips
from models.build.upstream import UPSTREAM  # noqa: E402 -- after the skips


@pytest.fixture
def net():
    torch.set_grad_enabled(False)
    return Net(small_model())


@pytest.fixture
def images():
    return torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("count", [1, 3])
def test_cut_bottlenecks_compute_the_same_within_their_range(net, images, count):
    stats = equalize.observe(net, images)
    before = net.forward(images)["result"]
    model = small_model()
    tensors = [net.ops[1].output, net.ops[3].output]  # one begins the residual stream, one is its branch
    edges = plan.edges(stats, dict.fromkeys(tensors, count))
    segments.cut(model, edges)
    cut = Net(model)
    assert len(cut.ops) == len(net.ops) + 2  # one op more for each, which puts the segments together
    assert torch.allclose(cut.forward(images)["result"], before, atol=1e-3)
    names = [op.name for op in cut.ops]
    assert names.count("DEPTHWISE_CONV_2D") == (2 if count == 1 else 0)


def test_a_convolution_reads_segments_also_where_a_sum_reads_the_bottleneck(net):
    stats = equalize.observe(net, torch.rand(2, 3, 8, 8))
    model = small_model()
    segments.cut(model, plan.edges(stats, {net.ops[1].output: 2}))
    cut = Net(model)
    narrow, together, wide = cut.ops[1:4]
    assert wide.inputs == together.inputs == [narrow.output]
    assert cut.shapes[narrow.output][3] == 8


def with_cut_stream(net, stats, count):
    """The small model, its residual stream cut before the sum and behind it."""
    model = small_model()
    segments.cut(model, plan.edges(stats, dict.fromkeys([net.ops[1].output, net.ops[4].output], count)))
    return Net(model)


@pytest.mark.parametrize("count", [1, 2])
def test_a_cut_sum_is_one_convolution_of_its_branch_and_the_stream_s_segments(net, images, count):
    before = net.forward(images)["result"]
    cut = with_cut_stream(net, equalize.observe(net, images), count)
    assert [op.name for op in cut.ops] == ["CONV_2D"] * 3 + ["CONCATENATION", "CONV_2D", "CONV_2D"]
    assert all(op.activation == RELU6 for op in cut.ops[1:5] if op.name == "CONV_2D")
    assert cut.shapes[cut.ops[4].output][3] == 4 * count
    assert torch.allclose(cut.forward(images)["result"], before, atol=1e-3)


def test_equalization_looks_through_a_stream_that_is_read_several_times(net, images):
    before = net.forward(images)["result"]
    cut = with_cut_stream(net, equalize.observe(net, images), 1)
    factors = equalize.equalize(cut, equalize.observe(cut, images))
    wide, joined = cut.ops[2].output, cut.ops[3].output
    assert torch.equal(factors[joined][-16:], factors[wide])
    assert len(factors[joined]) == 16 + 4 * segments.COPIES[1]
    assert torch.allclose(cut.forward(images)["result"], before, atol=1e-3)


def test_a_bottleneck_that_one_convolution_reads_is_put_together_by_it(net, images):
    stats = equalize.observe(net, images)
    before = net.forward(images)["result"]
    model = small_model()
    total = net.ops[4]
    assert total.name == "ADD"
    model.subgraphs[0].operators[4].inputs = np.array([total.inputs[1], total.inputs[1]], np.int32)
    doubled = Net(model).forward(images)["result"]
    branch = net.ops[1].output
    segments.cut(model, plan.edges(stats, {branch: 2}))
    cut = Net(model)
    assert len(cut.ops) == len(net.ops)
    assert torch.allclose(cut.forward(images)["result"], doubled, atol=1e-3)
    assert not torch.allclose(doubled, before, atol=1e-3)


def test_beyond_its_range_a_cut_bottleneck_is_clamped(net, images):
    stats = equalize.observe(net, images)
    model = small_model()
    tensor = net.ops[1].output
    edges = plan.edges(stats, {tensor: 2})[tensor]
    middle = (edges[0] + edges[-1]) / 2
    narrow = np.stack([middle - 0.01, middle, middle + 0.01]).astype(np.float32)
    segments.cut(model, {tensor: narrow})
    after = equalize.observe(Net(model), images)
    cut = Net(model)
    together = next(op.output for op in cut.ops if op.index == 2)
    low, high = after[together].channel_min, after[together].channel_max
    assert torch.allclose(low, torch.tensor(narrow[0]), atol=1e-4)
    assert torch.allclose(high, torch.tensor(narrow[-1]), atol=1e-4)


def test_a_residual_sum_merged_into_its_convolution_computes_the_same(images):
    model = small_model()
    model.subgraphs[0].operators[4].builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    before = Net(model).forward(images)["result"]
    sums = residuals.find(model, RELU6)
    assert list(sums) == [int(model.subgraphs[0].operators[4].outputs[0])]
    residuals.merge(model, sums)
    merged = Net(model)
    assert [op.name for op in merged.ops] == ["CONV_2D"] * 3 + ["CONCATENATION", "CONV_2D", "CONV_2D"]
    assert torch.allclose(merged.forward(images)["result"], before, atol=1e-4)


def test_a_linear_sum_merged_into_its_convolution_reads_and_writes_segments(net, images):
    before = net.forward(images)["result"]
    model = small_model()
    residuals.merge(model, residuals.find(model, activation=0))
    merged = Net(model)
    stream, total = net.ops[1].output, net.ops[4].output
    segments.cut(model, plan.edges(equalize.observe(merged, images), {stream: 2, total: 1}))
    cut = Net(model)
    assert [op.name for op in cut.ops] == ["CONV_2D"] * 3 + ["CONCATENATION", "CONV_2D", "CONV_2D"]
    assert [cut.shapes[op.output][3] for op in cut.ops] == [8, 8, 16, 24, 4, 5]
    assert torch.allclose(cut.forward(images)["result"], before, atol=1e-3)


def test_what_is_laid_side_by_side_is_equalized_too(images):
    model = small_model()
    residuals.merge(model, residuals.find(model, activation=0))
    net = Net(model)
    before = net.forward(images)["result"]
    factors = equalize.equalize(net, equalize.observe(net, images))
    side, wide = (op for op in net.ops[2:4][::-1])
    assert factors[wide.output].max() > 1.1
    assert torch.equal(factors[side.output][:16], factors[wide.output])
    assert torch.allclose(net.forward(images)["result"], before, atol=1e-3)


def test_a_tensor_behind_a_relu6_is_cut_from_zero_and_padding_stays_zero(net, images):
    model = small_model()
    stem = net.ops[0].output
    options = schema.DepthwiseConv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = options.depthMultiplier = 1
    options.padding, options.fusedActivationFunction = schema.Padding.SAME, 3
    rng = np.random.default_rng(5)
    constants = [flat.add_constant(model, rng.normal(0, 1, n).astype(np.float32), "") for n in ((1, 3, 3, 8), (8,))]
    smooth = flat.add_tensor(model, [1, 8, 8, 8], "")
    depthwise = flat.new_op(model, "DEPTHWISE_CONV_2D", 1, [stem, *constants], [smooth], options=options)
    operators = model.subgraphs[0].operators
    operators[1].inputs[0] = smooth
    operators.insert(1, depthwise)
    whole = Net(model)
    before, stats = whole.forward(images)["result"], equalize.observe(whole, images)
    operators[1] = segments.dense(model, depthwise)
    edges = plan.edges(stats, {stem: 2, smooth: 2}, {stem, smooth})
    assert not edges[stem][0].any()
    segments.cut(model, edges)
    cut = Net(model)
    assert [cut.shapes[op.output][3] for op in cut.ops[:3]] == [16, 16, 4]
    assert torch.allclose(cut.forward(images)["result"], before, atol=1e-3)


@pytest.mark.parametrize(("variant", "sums"), [("full", 0), ("heavy", 23)])
def test_of_a_large_net_the_stem_the_heatmap_and_the_later_sums_stay_float(monkeypatch, variant, sums):
    path = manifest.MODELS_DIR / manifest.file_name(UPSTREAM[variant], "float16")
    if not path.exists():
        pytest.skip(f"{path.name} is not in the repository: python -m models.build --variants {variant}")
    net = Net(surgery.prepare(path.read_bytes(), "landmarks", "int8"))
    monkeypatch.setattr(plan, "LARGE", 1e12)
    usual = plan.float_ops(net, "landmarks", "int8")
    monkeypatch.setattr(plan, "LARGE", 0)
    more = [net.ops[index] for index in sorted(plan.float_ops(net, "landmarks", "int8") - usual)]
    assert [op.name for op in more if op.index < 5] == ["PAD", "CONV_2D", "DEPTHWISE_CONV_2D"]
    assert [op.name for op in more if op.index > 5] == ["ADD"] * sums + ["CONV_2D"]
    assert net.names[more[-1].output] == "heatmap"
    assert plan.float_ops(net, "landmarks", "int8-full") == set()
