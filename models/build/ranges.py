"""Which real range each int8 activation covers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.build.equalize import Stats
from models.build.graph import NO_ACTIVATION, RELU6, SAME_SCALE, Net, joined

Range = tuple[float, float]
INT8_MIN, INT8_MAX = -128, 127


@dataclass(frozen=True)
class Grid:
    """An int8 tensor's real value is (q - zero) * scale. `scale` is a float32 number."""

    scale: float
    zero: int

    @classmethod
    def over(cls, low: float, high: float) -> "Grid":
        """The grid that covers [low, high] and has an exact 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(torch.tensor(max((high - low) / 255, 1e-8), dtype=torch.float32))
        return cls(scale, max(INT8_MIN, min(INT8_MAX, round(INT8_MIN - low / scale))))

    def snap(self, values: Tensor) -> Tensor:
        """The nearest representable values."""
        steps = (values * (1 / self.scale)).clamp_(INT8_MIN - self.zero, INT8_MAX - self.zero)
        return steps.round_().mul_(self.scale)


PROBABILITY = Grid(1 / 256, INT8_MIN)  # what TFLite's int8 LOGISTIC writes


def same_scale_groups(net: Net) -> dict[int, int]:
    """Each tensor's group representative: tensors that TFLite wants on one grid share it."""
    return joined(net, SAME_SCALE)


def extremes(net: Net, stats: dict[int, Stats], float_ops: set[int]) -> dict[int, Range]:
    """All that calibration saw of the tensors that float ops write: what int8 ops read of them is not to be clipped."""
    return {op.output: (stats[op.output].minimum, stats[op.output].maximum) for op in net.ops if op.index in float_ops}


def choose(net: Net, stats: dict[int, Stats], input_grid: Grid, fixed: dict[int, Range]) -> dict[int, Grid]:
    """A grid for every tensor: over calibration's quantiles, or over the `fixed` range of its group."""
    group = same_scale_groups(net)
    covered: dict[int, Range] = {}
    for tensor, root in group.items():
        low, high = covered.get(root, (float("inf"), float("-inf")))
        covered[root] = (min(low, stats[tensor].low), max(high, stats[tensor].high))
    covered |= {group[tensor]: limits for tensor, limits in fixed.items()}
    by_root = {root: Grid.over(low, high) for root, (low, high) in covered.items()}
    by_root |= {group[op.output]: PROBABILITY for op in net.ops if op.name == "LOGISTIC"}
    by_root[group[net.input]] = input_grid
    return {tensor: by_root[root] for tensor, root in group.items()}


def lossless_clips(net: Net, stats: dict[int, Stats]) -> dict[int, Range]:
    """Convolution outputs that enter an ADD with ReLU6: what the other side cannot bring back between 0 and 6."""
    fixed = {}
    for op in net.ops:
        if op.name != "ADD" or op.activation != RELU6:
            continue
        for tensor, other in (op.inputs, op.inputs[::-1]):
            writer = net.producer[tensor]
            least, most = _bounds(net, other)
            if writer.name == "CONV_2D" and writer.activation == NO_ACTIVATION:
                fixed[tensor] = (max(stats[tensor].low, -most), min(stats[tensor].high, 6.0 - least))
    return fixed


def _bounds(net: Net, tensor: int) -> Range:
    """Between which values a tensor stays whatever the picture."""
    op = net.producer.get(tensor)
    if op is None:
        return float("-inf"), float("inf")
    if op.activation == RELU6:
        return 0.0, 6.0
    if op.name == "ADD" and op.activation == NO_ACTIVATION:
        (a, b), (c, d) = (_bounds(net, i) for i in op.inputs)
        return a + c, b + d
    return float("-inf"), float("inf")
