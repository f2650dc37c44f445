"""Channels that say nothing: upstream's landmark models have many with one value everywhere in every picture.

A channel behind a 1x1 convolution and depthwise ones that never changed in calibration is left out, and what it adds
goes into the bias of the convolution that reads it. The time that this saves is spent on keeping more of it float.
"""

import numpy as np
from numpy.typing import NDArray

from models.build import flat
from models.build.flat import Model, Operator

# The tensor that a convolution reads -> each channel's constant, NaN if it is kept.
Dropped = dict[int, NDArray[np.float32]]


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
