"""Each step of the quantizer does what it says, on a net small enough to see through."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the quantizer's steps need torch: pip install 'edge-pose[build]'")
pytest.importorskip("flatbuffers", reason="writes .tflite files: pip install 'edge-pose[build]'")

from small_net import small_model  # noqa: E402 -- after the skips

from models.build import dead, dead_search, equalize, flat, presence_bias, ranges, resume, rounding, sequential  # noqa: E402 -- after the skips
from models.build.graph import Net  # noqa: E402 -- after the skips
from models.build.ranges import Grid  # noqa: E402 -- after the skips


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


def test_a_calibration_that_was_interrupted_goes_on_and_finds_the_same(net, images, monkeypatch, tmp_path):
    monkeypatch.setattr(resume, "cache_dir", lambda: tmp_path)
    grids = ranges.choose(net, equalize.observe(net, images), Grid(1 / 255, -128), {})
    steps, done = sequential.Steps(), []

    def run(gptq):
        monkeypatch.setattr(rounding, "gptq", gptq)
        kept = resume.kept_for("small", net, images, grids, set(), steps)
        return sequential.quantize(net, images, grids, set(), steps=steps, label="small", kept=kept)

    gptq = rounding.gptq
    whole = sequential.quantize(net, images, grids, set(), steps=steps, label="small")

    def interrupted(op, *arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(op.index)
        return gptq(op, *arguments)

    with pytest.raises(KeyboardInterrupt):
        run(interrupted)
    again = []
    result = run(lambda op, *arguments: again.append(op.index) or gptq(op, *arguments))
    assert done + again == [*whole.integers]
    for name in ("integers", "steps", "scales", "biases"):
        assert all(torch.equal(getattr(result, name)[k], v) for k, v in getattr(whole, name).items())
    assert len(list(resume.folder("small").iterdir())) == 1


def test_what_was_kept_of_another_calibration_is_not_taken(net, images, monkeypatch, tmp_path):
    monkeypatch.setattr(resume, "cache_dir", lambda: tmp_path)
    grids = ranges.choose(net, equalize.observe(net, images), Grid(1 / 255, -128), {})
    kept = resume.kept_for("small", net, images, grids, set(), sequential.Steps())
    kept.save(1, torch.ones(2, 3, 1, 1), torch.ones(2, 1, 1, 1))
    assert resume.kept_for("small", net, images, grids, set(), sequential.Steps()).load(1)
    others = [
        (net, images + 0.1, grids, set(), sequential.Steps()),
        (net, images, grids, {1}, sequential.Steps()),
        (net, images, grids, set(), sequential.Steps(gain=False)),
    ]
    assert not any(resume.kept_for("small", *other).load(1) for other in others)


def test_the_simulated_int8_net_is_close_to_float(net, images):
    stats = equalize.observe(net, images)
    equalize.shift(net, stats)
    stats = equalize.observe(net, images)
    grids = ranges.choose(net, stats, Grid(1 / 255, -128), {})
    full = sequential.quantize(net, images, grids, set(), steps=sequential.Steps(), label="small")
    target = net.forward(images)["result"]
    got = full.forward(net, images)["result"]
    assert (got - target).abs().mean() < 0.02 * target.std()


def test_presence_is_corrected_by_pictures_near_the_gate(images):
    model = small_model()
    graph = model.subgraphs[0]
    logit = int(graph.operators[-1].outputs[0])
    output = flat.add_tensor(model, graph.tensors[logit].shape, "")
    graph.operators.append(flat.new_op(model, "LOGISTIC", 1, [logit], [output]))
    flat.set_interface(model, {int(graph.inputs[0]): "image"}, {output: "presence"}, "a small net")
    net = Net(model)
    grids = ranges.choose(net, equalize.observe(net, images), Grid(1 / 255, -128), {})
    found = sequential.quantize(net, images, grids, set(), steps=sequential.Steps(), label="small")
    head = net.ops[-2].index
    found.biases[head] = found.biases[head] - 0.8
    assert presence_bias.correct(net, images, found) == pytest.approx(0.8, abs=0.1)
    assert presence_bias.correct(net, images, found) == pytest.approx(0.0, abs=0.1)


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
