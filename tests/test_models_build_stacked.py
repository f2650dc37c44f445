"""The tail's sums as depthwise convolutions compute what they did, with weights that are whole numbers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the quantizer's steps need torch: pip install 'edge-pose[build]'")
pytest.importorskip("flatbuffers", reason="writes .tflite files: pip install 'edge-pose[build]'")

from small_net import small_tail  # noqa: E402 -- after the skips

from models.build import equalize, plan, ranges, rounding, segments, sequential, stacked  # noqa: E402 -- after the skips
from models.build.graph import RELU6, Net  # noqa: E402 -- after the skips
from models.build.ranges import Grid  # noqa: E402 -- after the skips


@pytest.fixture
def images():
    torch.set_grad_enabled(False)
    return torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def tail_edges(images):
    """The edges of the small tail, as calibration would choose them."""
    net = Net(small_tail())
    clipped = {op.output for op in net.ops if op.activation == RELU6}
    return stacked.align(net.model, plan.edges(equalize.observe(net, images), plan.tail_counts(net), clipped))


@pytest.fixture
def rewritten(images):
    model = small_tail()
    left = stacked.rewrite(model, tail_edges(images))
    assert left == {}
    return Net(model)


def test_every_sum_its_branch_and_what_is_pooled_first_is_cut():
    net = Net(small_tail())
    counts = plan.tail_counts(net)
    sums = [op for op in net.ops if op.name == "ADD"]
    assert [counts[op.output] for op in sums] == [plan.TAIL_SEGMENTS, plan.TAIL_SEGMENTS, plan.LAST_SEGMENTS]
    assert counts[net.ops[0].output] == 1
    assert len(counts) == 7


def test_stacked_sums_compute_the_same(images, rewritten):
    before = Net(small_tail()).forward(images)["result"]
    assert float(before.std()) > 0.1
    assert torch.allclose(rewritten.forward(images)["result"], before, atol=1e-3)
    names = [op.name for op in rewritten.ops]
    assert "ADD" not in names
    assert names.count("MAX_POOL_2D") == 2


def test_no_tensor_lies_in_more_than_five_parts(rewritten):
    joined = [op for op in rewritten.ops if op.name == "CONCATENATION"]
    assert max(len(op.inputs) for op in joined) == 5  # XNNPACK's limit


def test_the_weights_of_a_sum_are_whole_numbers_in_eight_bits(rewritten):
    adding = [op for op in rewritten.ops if op.depthwise and rounding.adds_up(op, rewritten.params[op.index][0])]
    assert len(adding) == 2 * (plan.TAIL_SEGMENTS + 1) + plan.LAST_SEGMENTS
    for op in adding:
        weights = rewritten.params[op.index][0]
        steps = weights / rounding.weight_scale(weights)
        assert torch.allclose(steps, steps.round(), atol=2e-3)


def test_a_branch_is_cut_no_wider_than_changes_the_sum():
    x, total = np.array([[0, 0], [2, 2], [4, 4]], np.float32), np.array([[0, 0], [1, 5]], np.float32)
    branch = np.array([[-9, -0.5], [0, 0], [9, 0.5]], np.float32)
    edges = stacked.aligned(x, branch, total)
    assert edges[0].tolist() == [-4, -0.5]
    assert (edges[-1] >= [1, 0.5]).all()
    wide, narrow = segments.width(edges)
    assert wide == pytest.approx(2 * 127 / 101)  # 2.5 would do
    assert narrow == pytest.approx(2 * 32 / 127)  # 0.5 would do


def test_a_stacked_tail_survives_eight_bits(images, rewritten):
    before = Net(small_tail()).forward(images)["result"]
    grids = ranges.choose(rewritten, equalize.observe(rewritten, images), Grid(1 / 255, -128), {})
    found = sequential.quantize(rewritten, images, grids, set(), steps=sequential.Steps(), label="small tail")
    error = found.forward(rewritten, images)["result"] - before
    assert float(error.std()) < 0.03 * float(before.std())
