"""Each step of the quantizer does what it says, on a net small enough to see through."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the quantizer's steps need torch: pip install 'edge-pose[build]'")
pytest.importorskip("flatbuffers", reason="writes .tflite files: pip install 'edge-pose[build]'")

from ai_edge_litert import schema_py_generated as schema  # noqa: E402 -- after the skips

from models.build import dead, dead_search, equalize, flat, plan, ranges, residuals, rounding, segments, sequential  # noqa: E402 -- after the skips
from models.build.graph import Net  # noqa: E402 -- after the skips
from models.build.ranges import Grid  # noqa: E402 -- after the skips


def small_model():
    """PAD-free bottleneck: 3x3 conv (ReLU6) -> 1x1 (linear) -> 1x1 (ReLU6) -> 1x1 (linear) + residual -> 1x1 output."""
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers = 3, [], [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    model.subgraphs = [graph]
    rng = np.random.default_rng(0)
    image = flat.add_tensor(model, [1, 8, 8, 3], "image")

    def convolution(source, channels, kernel, activation, offset=0.0):
        inputs = int(graph.tensors[source].shape[3])
        weights = rng.normal(0, (kernel * kernel * inputs) ** -0.5, (channels, kernel, kernel, inputs))
        spread = np.exp(rng.normal(0, 1, channels))[:, None, None, None]  # uneven channels, as real ones are
        options = schema.Conv2DOptionsT()
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
        options.padding, options.fusedActivationFunction = schema.Padding.SAME, activation
        output = flat.add_tensor(model, [1, 8, 8, channels], "")
        constants = [
            flat.add_constant(model, (weights * spread).astype(np.float32), ""),
            flat.add_constant(model, (offset + rng.normal(0, 0.3, channels)).astype(np.float32), ""),
        ]
        graph.operators.append(flat.new_op(model, "CONV_2D", 1, [source, *constants], [output], options=options))
        return output

    stem = convolution(image, 8, 3, 3)
    narrow = convolution(stem, 4, 1, 0, offset=20.0)
    wide = convolution(narrow, 16, 1, 3, offset=-20.0)
    branch = convolution(wide, 4, 1, 0, offset=-15.0)
    options = schema.AddOptionsT()
    total = flat.add_tensor(model, [1, 8, 8, 4], "")
    graph.operators.append(flat.new_op(model, "ADD", 1, [narrow, branch], [total], options=options))
    result = convolution(total, 5, 1, 0)
    flat.set_interface(model, {image: "image"}, {result: "result"}, "a small net")
    return model


@pytest.fixture
def net():
    torch.set_grad_enabled(False)
    return Net(small_model())


@pytest.fixture
def images():
    return torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def offsets(stats, tensor):
    """How far each channel's middle is from 0, in the tensor's typical half range."""
    low, high = stats[tensor].channel_min, stats[tensor].channel_max
    return ((low + high) / 2).abs().mean() / ((high - low) / 2).median()


def test_shift_centres_linear_tensors_and_keeps_the_function(net, images):
    before = net.forward(images)["result"]
    stats = equalize.observe(net, images)
    linear = [op.output for op in net.ops if op.name == "ADD" or op.index == 1]
    assert equalize.shift(net, stats) == 3
    after = equalize.observe(net, images)
    assert torch.allclose(net.forward(images)["result"], before, atol=1e-4)
    for tensor in linear:
        assert offsets(after, tensor) < offsets(stats, tensor) / 4


def test_equalize_narrows_the_spread_of_channels_and_keeps_the_function(net, images):
    before = net.forward(images)["result"]
    stats = equalize.observe(net, images)
    equalize.shift(net, stats)
    stats = equalize.observe(net, images)
    factors = equalize.equalize(net, stats)
    after = equalize.observe(net, images)
    assert torch.allclose(net.forward(images)["result"], before, atol=1e-3)
    assert factors
    for tensor in factors:
        reach = torch.maximum(after[tensor].channel_max, -after[tensor].channel_min)
        old = torch.maximum(stats[tensor].channel_max, -stats[tensor].channel_min) / factors[tensor]
        assert reach.max() / reach.min() <= old.max() / old.min() * 1.001


def test_equalize_does_not_scale_weights_beyond_what_xnnpack_takes(net, images, monkeypatch):
    monkeypatch.setattr(equalize, "LARGEST_WEIGHT", 0.5)
    before = {index: weights.abs().amax((1, 2, 3)) for index, (weights, _) in net.params.items()}
    equalize.equalize(net, equalize.observe(net, images))
    for op in net.ops[:2]:  # they write what is equalized, and the first one's inputs are not
        after = net.params[op.index][0].abs().amax((1, 2, 3))
        assert (after <= torch.maximum(before[op.index], torch.tensor(0.5)) * 1.001).all()


def test_fold_input_offset_moves_the_offset_into_the_bias(net, images):
    inside = (..., slice(1, -1), slice(1, -1))  # the zero border is not exact
    before = net.forward(images)["result"]
    equalize.fold_input_offset(net, 0.25)
    assert torch.allclose(net.forward(images - 0.25)["result"][inside], before[inside], atol=1e-4)


def test_a_grid_has_an_exact_zero_and_covers_its_range():
    grid = Grid.over(-1.3, 4.0)
    assert float(grid.snap(torch.zeros(1))) == 0.0
    values = torch.linspace(-1.3, 4.0, 1000)
    assert (grid.snap(values) - values).abs().max() <= grid.scale * 1.01
    assert float(grid.snap(torch.tensor([100.0]))) == pytest.approx(4.0, abs=grid.scale)


def test_tensors_that_tflite_wants_on_one_grid_share_it(net, images):
    stats = equalize.observe(net, images)
    grids = ranges.choose(net, stats, Grid(1 / 255, -128), {net.outputs[0]: (-2.0, 3.0)})
    assert grids[net.input] == Grid(1 / 255, -128)
    assert grids[net.outputs[0]] == Grid.over(-2.0, 3.0)
    assert set(grids) == {net.input, *(op.output for op in net.ops)}


def test_gptq_keeps_the_output_better_than_plain_rounding(net, monkeypatch):
    monkeypatch.setattr(rounding, "WEIGHT_MAX", 7)  # four bits, so that rounding matters
    generator = torch.Generator().manual_seed(2)
    op = net.ops[3]
    weights, bias = net.params[op.index]
    common = torch.rand(12, 16, 8, 8, generator=generator) @ torch.ones(8, 8)
    tensors = {op.inputs[0]: common + torch.rand(12, 16, 1, 1, generator=generator)}

    def error(integers, scale):
        target, got = (net.run_op(op, tensors, (w, bias)) for w in (weights, integers * scale))
        difference = got - target
        return float((difference - difference.mean((0, 2, 3), keepdim=True)).square().mean())

    integers, scale = rounding.gptq(op, weights, tensors[op.inputs[0]])
    plain = rounding.weight_scale(weights)
    assert error(integers, scale) < error(rounding.nearest(weights, plain), plain)
    assert integers.abs().max() <= rounding.WEIGHT_MAX


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
    sums = residuals.find(model)
    assert list(sums) == [int(model.subgraphs[0].operators[4].outputs[0])]
    residuals.merge(model, sums)
    merged = Net(model)
    assert [op.name for op in merged.ops] == ["CONV_2D"] * 3 + ["CONCATENATION", "CONV_2D", "CONV_2D"]
    assert torch.allclose(merged.forward(images)["result"], before, atol=1e-4)


def test_gptq_leaves_a_zero_at_zero(net):
    op = net.ops[3]
    weights = net.params[op.index][0].clone()
    weights[:, ::2] = 0
    generator = torch.Generator().manual_seed(3)
    inputs = torch.rand(12, 16, 8, 8, generator=generator) + torch.rand(12, 16, 1, 1, generator=generator)
    integers, _ = rounding.gptq(op, weights, inputs)
    assert integers[:, ::2].count_nonzero() == 0
    assert integers.count_nonzero() > 0


@pytest.mark.parametrize("step", ["gptq", "bias", "gain"])
def test_every_step_of_rounding_is_taken_or_not(net, images, step):
    stats = equalize.observe(net, images)
    grids = ranges.choose(net, stats, Grid(1 / 255, -128), {})
    last = {net.ops[-1].index}
    found = sequential.quantize(net, images, grids, last, steps=sequential.Steps(), label="with")
    without = sequential.quantize(net, images, grids, last, steps=sequential.Steps(**{step: False}), label="without")
    changed = found.integers if step == "gptq" else found.biases if step == "bias" else found.scales
    other = without.integers if step == "gptq" else without.biases if step == "bias" else without.scales
    assert any(not torch.equal(changed[k], other[k]) for k in changed)
    assert net.ops[-1].index not in found.integers


def test_the_simulated_int8_net_is_close_to_float(net, images):
    stats = equalize.observe(net, images)
    equalize.shift(net, stats)
    stats = equalize.observe(net, images)
    grids = ranges.choose(net, stats, Grid(1 / 255, -128), {})
    full = sequential.quantize(net, images, grids, set(), steps=sequential.Steps(), label="small")
    target = net.forward(images)["result"]
    got = full.forward(net, images)["result"]
    assert (got - target).abs().mean() < 0.02 * target.std()


def test_channels_that_never_change_are_left_out_and_what_they_add_stays(images, monkeypatch):
    monkeypatch.setattr(dead_search, "BLOCK", 1)
    model = small_model()
    first = model.subgraphs[0].operators[0]
    weights, bias = (flat.constant(model, i).copy() for i in first.inputs[1:])
    weights[[2, 5]] = 0  # one stays at 0, one at 1.5
    bias[[2, 5]] = -1, 1.5
    first.inputs[1:] = [flat.add_constant(model, value, "") for value in (weights, bias)]
    net = Net(model)
    before = net.forward(images)["result"]
    dropped = dead_search.find(net, equalize.observe(net, images))
    stem = dropped[net.ops[0].output]
    assert np.flatnonzero(~np.isnan(stem)).tolist() == [2, 5]
    assert stem[[2, 5]] == pytest.approx([0.0, 1.5])
    dead.drop(model, dropped)
    after = Net(model)
    assert after.shapes[after.ops[0].output][3] == 6
    assert torch.allclose(after.forward(images)["result"], before, atol=1e-5)
