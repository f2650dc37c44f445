"""Channels that say nothing: upstream's landmark models have many with one value everywhere in every picture.

A channel behind a 1x1 convolution and depthwise ones that never changed in calibration is left out, and what it adds
goes into the bias of the convolution that reads it. The time that this saves is spent on keeping more of it float.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.build import flat
from models.build.equalize import Stats
from models.build.flat import Model, Operator
from models.build.graph import Net, Op

# A channel is constant if it changes by no more than this (behind a ReLU6, so at most 6).
MOST_CHANGE = 0.01
# Kernels take channels by the 16: fewer are only of use if they are fewer blocks.
BLOCK = 16

Dropped = dict[
    int, NDArray[np.float32]
]  # tensor that a convolution reads -> each channel's constant, NaN if it is kept


@dataclass
class _Group:
    """A convolution's output and what depthwise convolutions and paddings make of it, down to other convolutions."""

    tensors: list[int]
    read: list[int]  # those of the tensors that convolutions read


def find(net: Net, stats: dict[int, Stats]) -> Dropped:
    """Which channels to leave out, by the extremes that calibration saw of each."""
    dropped: Dropped = {}
    for op in net.ops:
        group = _group(net, op) if op.name == "CONV_2D" else None
        if group is None:
            continue
        lows, highs = (np.stack([_extremes(stats[t])[k] for t in group.read]) for k in (0, 1))
        change = (highs - lows).max(0)
        order = np.argsort(change, kind="stable")
        count = int((change <= MOST_CHANGE).sum())
        count -= (count - len(change)) % BLOCK  # whole blocks stay
        if count > 0:
            for tensor, low, high in zip(group.read, lows, highs, strict=True):
                constants = np.full(len(change), np.nan, np.float32)
                constants[order[:count]] = ((low + high) / 2)[order[:count]]
                dropped[tensor] = constants
    return dropped


def _extremes(stats: Stats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    assert stats.channel_min is not None
    assert stats.channel_max is not None
    return stats.channel_min.numpy(), stats.channel_max.numpy()


def _group(net: Net, writer: Op) -> _Group | None:
    """The group of a convolution's output; None if anything else reads a tensor of it."""
    group = _Group([writer.output], [])
    for tensor in group.tensors:
        if tensor in net.outputs:
            return None
        for op in net.consumers[tensor]:
            if op.name == "CONV_2D" and net.params[op.index][0].shape[2] == 1:
                group.read = list(dict.fromkeys([*group.read, tensor]))
            elif op.depthwise or op.name == "PAD":
                group.tensors.append(op.output)
            else:
                return None
    return group


def drop(model: Model, dropped: Dropped) -> None:
    """Leave these channels out; elementwise in double precision. Tensors keep their indices."""
    operators = {int(op.outputs[0]): op for op in model.subgraphs[0].operators}
    done: set[int] = set()
    for tensor, constants in dropped.items():
        kept = np.flatnonzero(np.isnan(constants))
        for op in model.subgraphs[0].operators:
            if op.inputs[0] == tensor:
                _fold(model, op, constants, kept)
        above: int = tensor
        while above not in done:
            done.add(above)
            op = operators[above]
            tensors = model.subgraphs[0].tensors
            tensors[above].shape = np.array([*tensors[above].shape[:3], len(kept)], np.int32)
            name = flat.op_name(model, op)
            if name != "PAD":
                _select(model, op, kept, depthwise=name == "DEPTHWISE_CONV_2D")
            if name == "CONV_2D":
                break
            above = int(op.inputs[0])


def _select(model: Model, op: Operator, kept: NDArray[np.intp], *, depthwise: bool) -> None:
    """Keep these outputs of a convolution."""
    weights, bias = flat.constant(model, op.inputs[1]), flat.constant(model, op.inputs[2])
    assert weights is not None
    assert bias is not None
    _set(model, op, weights[..., kept] if depthwise else weights[kept], bias[kept])


def _fold(model: Model, op: Operator, constants: NDArray[np.float32], kept: NDArray[np.intp]) -> None:
    """Make a 1x1 convolution read the channels that are kept, with the others in its bias."""
    weights, bias = flat.constant(model, op.inputs[1]), flat.constant(model, op.inputs[2])
    assert weights is not None
    assert bias is not None
    moved = bias.astype(np.float64)
    for channel in np.flatnonzero(~np.isnan(constants)):  # a plain sum in a fixed order
        moved = moved + weights[:, 0, 0, channel].astype(np.float64) * np.float64(constants[channel])
    _set(model, op, weights[..., kept], moved.astype(np.float32))


def _set(model: Model, op: Operator, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    op.inputs[1:] = [flat.add_constant(model, value, "") for value in (np.ascontiguousarray(weights), bias)]
