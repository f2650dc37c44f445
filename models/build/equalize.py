"""Steps that rewrite weights without changing the float function, so that int8 has less to lose.

`shift` centres linear tensors, `equalize` evens out channel ranges (cross-layer equalization, Nagel et al. 2019,
arXiv 1906.04721), `fold_input_offset` lets the pixel p enter as int8 p - 128.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from models.build.graph import CONVOLUTIONS, NO_ACTIVATION, RELU, RELU6, Net, Op, joined, readers

# Equalization passes through these: they keep channels apart and commute with positive scaling.
TRANSPARENT = ("ADD", "PAD", "MAX_POOL_2D", "RESIZE_BILINEAR")


@dataclass
class Stats:
    """What calibration saw of one tensor: quantiles over all values, extremes by channel (4-D tensors only)."""

    low: float
    high: float
    minimum: float
    maximum: float
    channel_min: Tensor | None
    channel_max: Tensor | None


QUANTILE = 1e-4
SAMPLES = 60_000  # values of a batch that the quantile is taken of


def observe(net: Net, images: Tensor, batch: int = 16) -> dict[int, Stats]:
    """Run the float net over images [n, 3, side, side] and collect every tensor's Stats."""
    seen: dict[int, list[Stats]] = {}

    def look(index: int, value: Tensor) -> Tensor:
        # Channels-last rows: a view, for that is how the values lie in memory.
        rows = value.permute(0, 2, 3, 1).reshape(-1, value.shape[1]) if value.ndim == 4 else value
        low, high = rows.amin(0), rows.amax(0)
        step = max(1, rows.numel() // SAMPLES) | 1  # odd, so that it does not keep to a few channels
        ordered = rows.reshape(-1)[::step].sort().values
        tail = int(QUANTILE * (len(ordered) - 1))
        channels = (low, high) if value.ndim == 4 else (None, None)
        extremes = float(low.min()), float(high.max())
        seen.setdefault(index, []).append(Stats(float(ordered[tail]), float(ordered[-1 - tail]), *extremes, *channels))
        return value

    for part in tqdm(torch.split(images, batch), desc="float net", unit="batch", leave=False):
        net.forward(part, look)
    return {index: _merge(parts) for index, parts in seen.items()}


def _merge(parts: list[Stats]) -> Stats:
    lows, highs = [p.low for p in parts], [p.high for p in parts]
    channel_min = [p.channel_min for p in parts if p.channel_min is not None]
    channel_max = [p.channel_max for p in parts if p.channel_max is not None]
    return Stats(
        float(np.mean(lows)),
        float(np.mean(highs)),
        min(p.minimum for p in parts),
        max(p.maximum for p in parts),
        torch.stack(channel_min).amin(0) if channel_min else None,
        torch.stack(channel_max).amax(0) if channel_max else None,
    )


def fold_input_offset(net: Net, offset: float) -> None:
    """Make the net expect its input less `offset`: the first convolution's bias takes it up.

    Exact but for the zero border, whose value becomes `offset` (half a grey level) instead of 0.
    """
    op = net.consumers[net.input][0]
    while op.name not in CONVOLUTIONS:
        op = net.consumers[op.output][0]
    weights, bias = net.params[op.index]
    net.params[op.index] = (weights, bias + offset * weights.sum((1, 2, 3)))


def shift(net: Net, stats: dict[int, Stats], *, shift_depthwise: bool = False) -> int:
    """Move per-channel offsets of linear tensors into the biases before and after them; returns how many moved.

    A tensor can be shifted if it is linear (a convolution's or an ADD's output without activation) and is read only by
    1x1 convolutions (depthwise ones too) and linear ADDs; with `shift_depthwise` a depthwise convolution's output can
    be, too. The sum of an ADD shifts by the sum of its inputs' shifts, so the offsets of a residual chain are one
    least-squares problem: every tensor of it wants its channels centred on 0.
    """
    movable = _movable(net, shift_depthwise=shift_depthwise)
    parts: dict[int, frozenset[int]] = {}  # movable tensor -> the convolution outputs that it is a sum of
    for op in net.ops:
        if op.output in movable:
            summands = op.inputs if op.name == "ADD" else []
            own: frozenset[int] = frozenset() if summands else frozenset((op.output,))
            parts[op.output] = own.union(*(parts[i] for i in summands))
    offsets: dict[int, Tensor] = {}
    for group in _groups(list(parts.values())):
        offsets |= _centre(sorted(group), {t: p for t, p in parts.items() if p <= group}, stats)
    for tensor, summed in parts.items():
        total = torch.stack([offsets[i] for i in sorted(summed)]).sum(0)
        producer = net.producer[tensor]
        if producer.name in CONVOLUTIONS:
            weights, bias = net.params[producer.index]
            net.params[producer.index] = (weights, bias - total)
        for reader in net.consumers[tensor]:
            if reader.name in CONVOLUTIONS:
                weights, bias = net.params[reader.index]
                moved = weights[:, 0, 0, 0] * total if reader.depthwise else weights[:, :, 0, 0] @ total
                net.params[reader.index] = (weights, bias + moved)
    return len(parts)


def _movable(net: Net, *, shift_depthwise: bool) -> set[int]:
    def reads_well(op: Op) -> bool:
        if op.name in CONVOLUTIONS:
            return int(net.params[op.index][0].shape[2]) == 1
        return op.name == "ADD" and op.activation == NO_ACTIVATION

    movable = {
        op.output
        for op in net.ops
        if (op.name in {"CONV_2D", "ADD"} or (shift_depthwise and op.depthwise))
        and op.activation == NO_ACTIVATION
        and op.output not in net.outputs
        and all(reads_well(reader) for reader in net.consumers[op.output])
    }
    while True:  # an ADD moves with its inputs or not at all
        fixed = {
            tensor
            for op in net.ops
            if op.name == "ADD" and not {op.output, *op.inputs} <= movable
            for tensor in (op.output, *op.inputs)
        }
        if not fixed & movable:
            return movable
        movable -= fixed


def _groups(sets: list[frozenset[int]]) -> list[frozenset[int]]:
    """The connected components of overlapping sets."""
    groups: list[frozenset[int]] = []
    for one in sets:
        touching = [g for g in groups if g & one]
        groups = [g for g in groups if not g & one] + [one.union(*touching)]
    return groups


def _centre(group: list[int], members: dict[int, frozenset[int]], stats: dict[int, Stats]) -> dict[int, Tensor]:
    """Offsets of a group's convolution outputs that centre its tensors, each tensor weighted by 1 / its half range."""
    centres, weights = [], []
    for tensor in members:
        low, high = stats[tensor].channel_min, stats[tensor].channel_max
        assert low is not None
        assert high is not None
        centres.append(((low + high) / 2).double().numpy())
        weights.append(1 / max(float(((high - low) / 2).median()), 1e-6))
    weight = np.array(weights)[:, None]
    system = np.array([[float(i in own) for i in group] for own in members.values()])
    solution = np.linalg.lstsq(system * weight, np.array(centres) * weight, rcond=None)[0]
    return {i: torch.tensor(row, dtype=torch.float32) for i, row in zip(group, solution, strict=True)}


@dataclass
class _Component:
    """Tensors tied to one channel scaling, the convolutions that write them and those that read them."""

    tensors: list[int]
    writers: list[Op]
    readers: list[tuple[Op, slice]]  # and which of its input channels these are


@dataclass(frozen=True)
class Limits:
    """How far channels are scaled.

    Attributes:
        alpha: 0 leaves all as it is, 1 makes ranges equal.
        cap: bounds a channel's factor.
        small_map: what the largest value becomes behind a ReLU6, in maps of 4x4 cells and smaller.
    """

    alpha: float = 0.5
    cap: float = 64.0
    small_map: float = 3.5


DEFAULT_LIMITS = Limits()


def equalize(net: Net, stats: dict[int, Stats], limits: Limits = DEFAULT_LIMITS) -> dict[int, Tensor]:
    """Scale channels up so that their ranges approach the widest's, and undo it in the weights that read them.

    Behind a ReLU6 a channel is scaled no further than keeps it below 6. Returns the factors of each scaled tensor.
    """
    factors: dict[int, Tensor] = {}
    for component in _components(net):
        scale = _channel_scale(net, component, stats, limits)
        for op in component.writers:
            scale = torch.minimum(scale, LARGEST_WEIGHT / net.params[op.index][0].abs().amax((1, 2, 3)).clamp_min(1e-9))
        scale = scale.clamp_min(1)
        for op in component.writers:
            weights, bias = net.params[op.index]
            net.params[op.index] = (weights * scale[:, None, None, None], bias * scale)
        for op, channels in component.readers:
            weights, bias = net.params[op.index]
            weights = weights.clone()
            weights[channels if op.depthwise else (slice(None), channels)] /= (
                scale[:, None, None, None] if op.depthwise else scale[None, :, None, None]
            )
            net.params[op.index] = (weights, bias)
        for tensor in component.tensors:
            factors[tensor] = scale
    return factors | _factors_side_by_side(net, factors)


def _factors_side_by_side(net: Net, factors: dict[int, Tensor]) -> dict[int, Tensor]:
    """The factors of the tensors that lay scaled ones side by side."""
    return {
        op.output: torch.cat([factors.get(i, torch.ones(net.shapes[i][3])) for i in op.inputs])
        for op in net.ops
        if op.side_by_side and set(op.inputs) & factors.keys()
    }


def _components(net: Net) -> list[_Component]:
    members: dict[int, list[int]] = {}
    for tensor, group in joined(net, TRANSPARENT).items():
        members.setdefault(group, []).append(tensor)
    components = []
    for tensors in members.values():
        component = _component(net, tensors)
        if component is not None:
            components.append(component)
    return components


def _component(net: Net, tensors: list[int]) -> _Component | None:
    """The component of these tensors, or None if something in it does not commute with scaling."""
    if net.input in tensors or set(tensors) & set(net.outputs):
        return None
    writers = [net.producer[t] for t in tensors]
    read_by = [reader for t in tensors for reader in readers(net, t) if reader[0].output not in tensors]
    pads_channels = any(op.name == "PAD" and op.attributes["pads"][3].any() for op in writers)
    known = all(op.name in (*CONVOLUTIONS, *TRANSPARENT) for op in writers)
    convolutions = [op for op in writers if op.name in CONVOLUTIONS]
    if pads_channels or not known or not convolutions or not read_by:
        return None
    if not all(op.name in CONVOLUTIONS for op, _ in read_by):
        return None
    return _Component(tensors, convolutions, read_by)


# XNNPACK refuses a model with a weight scale of 256 and more (where input and output have the same), which is a weight
# of 32,512. Heavy has channels that come near.
LARGEST_WEIGHT = 16_000.0
# A channel behind a ReLU6 is scaled until the largest value that calibration saw gets here; the room up to 6 is for
# values that it did not see. Small maps have few values, so their largest is the least known.
SMALL_MAP = 4
RELU6_TARGETS = ((16, 5.0), (1 << 30, 5.6))  # (largest side, target)


def _channel_scale(net: Net, component: _Component, stats: dict[int, Stats], limits: Limits) -> Tensor:
    def largest(tensors: list[int], *, upper_only: bool) -> Tensor:
        sides = []
        for tensor in tensors:
            low, high = stats[tensor].channel_min, stats[tensor].channel_max
            assert low is not None
            assert high is not None
            sides.append(high if upper_only else torch.maximum(high, -low))
        return torch.stack(sides).amax(0)

    reach = largest(component.tensors, upper_only=False).clamp_min(1e-6)
    wanted = (reach.max() / reach) ** limits.alpha
    clipped = [t for t in component.tensors if net.producer[t].activation == RELU6]
    assert all(net.producer[t].activation in {NO_ACTIVATION, RELU, RELU6} for t in component.tensors)
    if not clipped:
        return wanted.clamp(1, limits.cap)
    top = largest(clipped, upper_only=True).clamp_min(1e-3)
    side = min(net.shapes[t][1] for t in clipped)
    targets = ((SMALL_MAP, limits.small_map), *RELU6_TARGETS)
    target = next(value for largest_side, value in targets if side <= largest_side)
    limit = (target / top).clamp(1, limits.cap)
    # A depthwise convolution has a weight scale for each input channel: nothing is lost by going all the way.
    if len(component.tensors) == 1 and all(op.depthwise for op, _ in component.readers):
        return limit
    return torch.minimum(limit, wanted).clamp_min(1)
