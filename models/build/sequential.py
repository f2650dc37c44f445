"""Quantize a net op by op, front to back, each op seeing what the int8 ops before it really give."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from models.build import rounding
from models.build.graph import Net, Op, Params, activate, release
from models.build.ranges import Grid

GAIN_LIMITS = (0.9, 1.1)


@dataclass(frozen=True)
class Steps:
    """Which steps are taken; all of them, but for the table that shows each one's effect."""

    gptq: bool = True
    bias: bool = True
    gain: bool = True
    damping: float = 0.01


@dataclass
class Quantized:
    """The result: a grid for each int8 tensor, integers and scales for each int8 convolution, a bias for every one."""

    grids: dict[int, Grid]
    float_ops: set[int]
    integers: dict[int, Tensor] = field(default_factory=dict)  # as float tensors, [out, in, height, width]
    scales: dict[int, Tensor] = field(default_factory=dict)  # [out, 1, 1, 1]
    biases: dict[int, Tensor] = field(default_factory=dict)  # real values, [out]

    def params(self, net: Net) -> dict[int, Params]:
        """Weights and biases as the int8 model has them, in real numbers."""
        return {
            index: (self.integers[index] * self.scales[index] if index in self.integers else weights, bias)
            for index, (weights, _) in net.params.items()
            for bias in [self.biases[index]]
        }

    def copy(self, index: int, other: "Quantized") -> None:
        """Take over one convolution of another result."""
        for mine, theirs in zip(
            (self.integers, self.scales, self.biases), (other.integers, other.scales, other.biases), strict=True
        ):
            mine[index] = theirs[index]

    def forward(self, net: Net, images: Tensor) -> dict[str, Tensor]:
        """Simulate the int8 model: every int8 tensor snapped to its grid."""

        def snap(tensor: int, value: Tensor) -> Tensor:
            return self.grids[tensor].snap(value) if tensor in self.grids else value

        return net.forward(images, snap, self.params(net))


def quantize(
    net: Net, images: Tensor, grids: dict[int, Grid], float_ops: set[int], *, steps: Steps, label: str
) -> tuple[Quantized, Quantized]:
    """Round every convolution's weights and correct its bias (and gain) against the float net.

    Returns the all-integer result and the one in which `float_ops` stay float. Keeps three runs going over images
    [n, 3, side, side]: float, all-integer, and mixed, which is the all-integer one up to the first float op.
    """
    mixed_grids = {t: g for t, g in grids.items() if t == net.input or net.producer[t].index not in float_ops}
    full, mixed = Quantized(grids, set()), Quantized(mixed_grids, float_ops)
    exact = {net.input: images}
    ours = {net.input: grids[net.input].snap(images)}
    others: dict[int, Tensor] = {}  # what the mixed run has differently
    left = [{tensor: len(ops) for tensor, ops in net.consumers.items()} for _ in range(3)]
    for op in tqdm(net.ops, desc=label, unit="op"):
        target = net.run_op(op, exact)
        value = _run(net, op, ours, target, result=full, steps=steps)
        if op.index in float_ops:
            others[op.output] = activate(op, _run(net, op, ours | others, target, result=mixed, steps=steps))
        elif op.index in net.params:
            mixed.copy(op.index, full)
        exact[op.output] = activate(op, target)
        value = activate(op, value)
        ours[op.output] = grids[op.output].snap(value)
        for tensors, counts in zip((exact, ours, others), left, strict=True):
            release(op, tensors, counts, keep=[])
    return full, mixed


def _run(net: Net, op: Op, tensors: dict[int, Tensor], target: Tensor, *, result: Quantized, steps: Steps) -> Tensor:
    """One op of an int8 run, before activation; a convolution is quantized on the way."""
    return (
        _convolution(net, op, tensors, target, result=result, steps=steps)
        if op.index in net.params
        else net.run_op(op, tensors)
    )


def _convolution(
    net: Net, op: Op, tensors: dict[int, Tensor], target: Tensor, *, result: Quantized, steps: Steps
) -> Tensor:
    """Quantize one convolution; returns its output before activation."""
    weights, bias = net.params[op.index]
    quantized = op.index not in result.float_ops
    if quantized:
        scale = rounding.weight_scale(weights)
        if steps.gptq:
            integers = rounding.gptq(op, weights, scale, tensors[op.inputs[0]], steps.damping)
        else:
            integers = rounding.nearest(weights, scale)
        weights = integers * scale
    value = net.run_op(op, tensors, (weights, bias))
    if quantized and steps.gain:
        # Weights and bias times the gain is the output times the gain: no need to run the convolution again.
        gain = _gain(target, value)
        scale, bias = scale * gain[:, None, None, None], bias * gain
        value *= gain[:, None, None]
    if steps.bias:
        correction = (target - value).mean((0, 2, 3))
        bias = bias + correction
        value += correction[:, None, None]
    if quantized:
        result.integers[op.index], result.scales[op.index] = integers, scale
    result.biases[op.index] = bias
    return value


def _gain(target: Tensor, value: Tensor) -> Tensor:
    """Each channel's least-squares gain from value to target, [out], both [n, out, h, w]."""
    over = (0, 2, 3)
    mean_target, mean_value = target.mean(over), value.mean(over)
    variance = (value * value).mean(over) - mean_value * mean_value
    covariance = (target * value).mean(over) - mean_target * mean_value
    gain = torch.where(variance > 1e-8, covariance / variance.clamp_min(1e-8), torch.ones_like(variance))
    return gain.clamp(*GAIN_LIMITS)
