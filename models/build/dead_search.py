"""Finds the channels that `dead` leaves out, by what calibration saw."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.build.dead import Dropped
from models.build.equalize import Stats
from models.build.graph import Net, Op

# A channel is constant if it changes by no more than this (behind a ReLU6, so at most 6).
MOST_CHANGE = 0.01
# Kernels take channels by the 16: fewer are only of use if they are fewer blocks.
BLOCK = 16


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
