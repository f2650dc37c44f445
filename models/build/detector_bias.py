"""The last step for the detector: its heads' biases, corrected where it matters.

`sequential` makes the mean error of every channel 0 over all anchors, of which almost none is a person. Whether there
is one, and where, is read at the few anchors with a high score.
"""

import torch
from torch import Tensor

from edge.detector import ANCHOR_GRID
from models.build.graph import Net, Op
from models.build.sequential import Quantized

# This much evidence (a sum of weights of at most 1 an anchor) halves a correction: the coarsest layer's anchors hardly
# ever fire, and little is learnt there.
DOUBT = 5.0
BATCH = 16


def correct(net: Net, images: Tensor, result: Quantized) -> None:
    """Change the biases of `result`'s heads by the error at anchors that count, seen over images [n, 3, side, side]."""
    errors: dict[str, list[Tensor]] = {name: [] for name in net.names.values()}
    weights: dict[str, list[Tensor]] = {name: [] for name in net.names.values()}
    grids = {name: result.grids[index] for index, name in net.names.items()}
    for batch in torch.split(images, BATCH):
        exact, ours = net.forward(batch), result.forward(net, batch)
        person = torch.sigmoid(exact["scores"])
        for name, grid in grids.items():
            errors[name].append(grid.snap(exact[name]) - ours[name])
            # Scores count most where they decide, boxes and keypoints where there is a person.
            weights[name].append(person * (1 - person) if name == "scores" else person)
    for index, name in net.names.items():
        layers = zip(_by_layer(torch.cat(errors[name])), _by_layer(torch.cat(weights[name])), strict=True)
        for head, (error, weight) in zip(_heads(net, index), layers, strict=True):
            correction = (error * weight).sum((0, 1)) / (weight.sum((0, 1)) + DOUBT)
            result.biases[head.index] = result.biases[head.index] + correction.flatten()


def _by_layer(values: Tensor) -> list[Tensor]:
    """Values [n, anchors, k] as [n, cells, anchors a cell, k] for each layer of anchors."""
    sizes = [cells * cells * repeats for cells, repeats in ANCHOR_GRID]
    parts = torch.split(values, sizes, dim=1)
    return [
        part.reshape(len(part), -1, repeats, part.shape[2])
        for part, (_, repeats) in zip(parts, ANCHOR_GRID, strict=True)
    ]


def _heads(net: Net, output: int) -> list[Op]:
    """The convolution of each layer that an output is put together from: CONCATENATION of RESHAPEs of them."""
    return [net.producer[net.producer[part].inputs[0]] for part in net.producer[output].inputs]
