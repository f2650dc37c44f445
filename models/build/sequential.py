"""Quantize a net op by op, front to back, each op seeing what the int8 ops before it really give."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from models.build import rounding
from models.build.graph import Net, Op, Params, activate, release
from models.build.ranges import Grid
from models.build.resume import KeptRounding

GAIN_LIMITS = (0.9, 1.1)


@dataclass(frozen=True)
class Steps:
    """Which steps are taken; all of them, but for the table that shows each one's effect."""

    gptq: bool = True
    bias: bool = True
    gain: bool = True
    damping: float = 0.01
    shrinks: tuple[float, ...] = rounding.SHRINKS


@dataclass
class Quantized:
    """The result: a grid for each tensor, integers and scales for each int8 convolution, a bias for every convolution.

    The grid of a tensor that a float op writes is for the int8 ops that read it.
    """

    grids: dict[int, Grid]
    float_ops: set[int]
    integers: dict[int, Tensor] = field(default_factory=dict)  # as float tensors, [out, in, height, width]
    steps: dict[int, Tensor] = field(default_factory=dict)  # what the weights were rounded in, [out, 1, 1, 1]
    scales: dict[int, Tensor] = field(default_factory=dict)  # the same times the gain
    biases: dict[int, Tensor] = field(default_factory=dict)  # real values, [out]

    def params(self, net: Net, op: Op) -> Params | None:
        """A convolution's weights and bias as the int8 model has them, in real numbers."""
        if op.index not in net.params:
            return None
        weights = net.params[op.index][0].half().float()
        if op.index in self.integers:
            weights = self.integers[op.index] * self.scales[op.index]
        return weights, self.biases[op.index]

    def snap(self, tensor: int, value: Tensor) -> Tensor:
        """The value on the tensor's grid, or as it is where there is none."""
        return self.grids[tensor].snap(value) if tensor in self.grids else value

    def read(self, net: Net, op: Op, tensors: dict[int, Tensor]) -> dict[int, Tensor]:
        """What the op reads: an int8 op snaps what float ops wrote."""
        if op.index in self.float_ops:
            return tensors
        return {i: self.snap(i, tensors[i]) if net.writer_index(i) in self.float_ops else tensors[i] for i in op.inputs}

    def written(self, op: Op, value: Tensor) -> Tensor:
        """What the op leaves: an int8 op's value is on its grid."""
        return value if op.index in self.float_ops else self.snap(op.output, value)

    def forward(self, net: Net, images: Tensor) -> dict[str, Tensor]:
        """Simulate the int8 model."""
        tensors = {net.input: self.snap(net.input, images)}
        left = {tensor: len(ops) for tensor, ops in net.consumers.items()}
        for op in net.ops:
            value = net.run_op(op, self.read(net, op, tensors), self.params(net, op))
            tensors[op.output] = self.written(op, activate(op, value))
            release(op, tensors, left, keep=net.outputs)
        return {net.names[i]: tensors[i] for i in net.outputs}


def quantize(
    net: Net,
    images: Tensor,
    grids: dict[int, Grid],
    float_ops: set[int],
    *,
    steps: Steps,
    label: str,
    kept: KeptRounding | None = None,
) -> Quantized:
    """Round every int8 convolution's weights and correct every one's bias (and gain) against the float net.

    Keeps two runs going over images [n, 3, side, side]: the float net and ours. What `kept` has is not rounded again.
    """
    result = Quantized(grids, float_ops)
    exact, ours = {net.input: images}, {net.input: grids[net.input].snap(images)}
    left = [{tensor: len(ops) for tensor, ops in net.consumers.items()} for _ in range(2)]
    for op in tqdm(net.ops, desc=label, unit="op"):
        target = net.run_op(op, exact)
        inputs = result.read(net, op, ours)
        if op.index in net.params:
            value = _convolution(net, op, inputs, target, result=result, steps=steps, kept=kept)
        else:
            value = net.run_op(op, inputs)
        exact[op.output] = activate(op, target)
        ours[op.output] = result.written(op, activate(op, value))
        for tensors, counts in zip((exact, ours), left, strict=True):
            release(op, tensors, counts, keep=[])
    return result


def _convolution(
    net: Net,
    op: Op,
    inputs: dict[int, Tensor],
    target: Tensor,
    *,
    result: Quantized,
    steps: Steps,
    kept: KeptRounding | None,
) -> Tensor:
    """Quantize a convolution into `result`; returns its value, before activation."""
    weights, bias = net.params[op.index]
    if op.index not in result.float_ops:
        integers, scale = _rounded(op, weights, inputs[op.inputs[0]], steps, kept)
        result.integers[op.index], result.steps[op.index], result.scales[op.index] = integers, scale, scale
    result.biases[op.index] = bias
    params = result.params(net, op)
    assert params is not None
    value = net.run_op(op, inputs, params)
    if op.index in result.integers and steps.gain and not rounding.adds_up(op, weights):
        # Weights and bias times the gain is the output times the gain: no need to run the convolution again.
        gain = _gain(target, value)
        result.scales[op.index] = result.scales[op.index] * gain[:, None, None, None]
        bias = bias * gain
        value *= gain[:, None, None]
    if steps.bias:
        correction = (target - value).mean((0, 2, 3))
        bias = bias + correction
        value += correction[:, None, None]
    result.biases[op.index] = bias
    return value


def _rounded(op: Op, weights: Tensor, inputs: Tensor, steps: Steps, kept: KeptRounding | None) -> tuple[Tensor, Tensor]:
    """Integers and scale of a convolution's weights."""
    if not steps.gptq or rounding.adds_up(op, weights):
        scale = rounding.weight_scale(weights)
        return rounding.nearest(weights, scale), scale
    found = kept.load(op.index) if kept else None
    if found is None:
        found = rounding.gptq(op, weights, inputs, steps.damping, steps.shrinks)
        if kept:
            kept.save(op.index, *found)
    return found


def _gain(target: Tensor, value: Tensor) -> Tensor:
    """Each channel's least-squares gain from value to target, [out], both [n, out, h, w]."""
    over = (0, 2, 3)
    mean_target, mean_value = target.mean(over), value.mean(over)
    variance = (value * value).mean(over) - mean_value * mean_value
    covariance = (target * value).mean(over) - mean_target * mean_value
    gain = torch.where(variance > 1e-8, covariance / variance.clamp_min(1e-8), torch.ones_like(variance))
    return gain.clamp(*GAIN_LIMITS)
