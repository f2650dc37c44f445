"""Ranges of the detector's linear tensors, chosen by what they do to its scores and keypoints.

Extremes are rare but may be just what tells a person from a chair, and no rule says how much of them to cover: for
each tensor in turn, alone rounded to int8, the share of the extremes that harms the outputs least.
"""

import torch
from torch import Tensor
from tqdm import tqdm

from models.build.equalize import Stats
from models.build.graph import CONVOLUTIONS, NO_ACTIVATION, Net, activate
from models.build.ranges import Grid

SHARES = (1.0, 0.8, 0.62)
PICTURES = 20
# Pictures that show nobody say nothing about where people are: at least this logit somewhere.
LEAST_LOGIT = -2.0
# Errors that weigh the same.
LOGIT, PX = 0.1, 2.0

Tensors = dict[int, Tensor]


def linear_tensors(net: Net) -> list[int]:
    """Outputs of convolutions and additions without activation, but for the model's own outputs."""
    after = {tensor for output in net.outputs for tensor in _heads(net, output)}
    return [
        op.output
        for op in net.ops
        if op.name in (*CONVOLUTIONS, "ADD") and op.activation == NO_ACTIVATION and op.output not in after
    ]


def choose_shares(net: Net, stats: dict[int, Stats], images: Tensor) -> dict[int, float]:
    """The share of its extremes that each linear tensor's range is to cover, from images [n, 3, side, side]."""
    exact = _run(net, _with_people(net, images))
    chosen = {}
    for tensor in tqdm(linear_tensors(net), desc="ranges", unit="tensor"):
        low, high = stats[tensor].minimum, stats[tensor].maximum

        def harm(share: float, tensor: int = tensor, low: float = low, high: float = high) -> float:
            rounded = Grid.over(share * low, share * high).snap(exact[tensor])
            return _error(net, exact, _run(net, {tensor: rounded}, exact))

        chosen[tensor] = min(SHARES, key=harm)
    return chosen


def _heads(net: Net, output: int) -> list[int]:
    """The tensors that an output is put together from, and itself."""
    found, left = [], [output]
    while left:
        tensor = left.pop()
        found.append(tensor)
        if net.producer[tensor].name in {"CONCATENATION", "RESHAPE"}:
            left += net.producer[tensor].inputs
    return found


def _with_people(net: Net, images: Tensor) -> Tensors:
    best = torch.cat([net.forward(part)["scores"].amax((1, 2)) for part in torch.split(images, 16)])
    return {net.input: images[best > LEAST_LOGIT][:PICTURES]}


def _run(net: Net, given: Tensors, exact: Tensors | None = None) -> Tensors:
    """Every tensor that follows from the `given` ones; `exact` has the others' values."""
    tensors = dict(given)
    for op in net.ops:
        if op.output not in given and any(i in tensors for i in op.inputs):
            inputs = {i: tensors[i] if i in tensors else (exact or {})[i] for i in op.inputs}
            tensors[op.output] = activate(op, net.run_op(op, inputs))
    return tensors


def _error(net: Net, exact: Tensors, ours: Tensors) -> float:
    """Squared errors, each where it counts: scores where they decide, keypoints where there is a person."""
    index = {name: tensor for tensor, name in net.names.items()}
    person = torch.sigmoid(exact[index["scores"]])
    total = 0.0
    for name, unit, weight in (("scores", LOGIT, person * (1 - person)), ("keypoints", PX, person)):
        tensor = index[name]
        if tensor in ours:
            difference = (ours[tensor] - exact[tensor]).square().mean(-1, keepdim=True)
            total += float((difference * weight).sum() / weight.sum()) / unit**2
    return total
