"""The last step for `int8-full` landmarks: the bias of the head that says whether there is a person.

`sequential` makes its mean error 0 over pictures of which most are clear, and over those that rounding saw. What counts
is the error at a presence near the gate, on other pictures.
"""

import torch
from torch import Tensor
from tqdm import tqdm

from models.build.graph import Net
from models.build.sequential import Quantized

# What the selection sets ask for beyond it, by variant: with it a fifth as many of their crops change sides.
SHIFTS = {"full": 0.4}
# This much evidence (a sum of weights of at most 1/4 a picture) halves the correction.
DOUBT = 1.0
BATCH = 16


def correct(net: Net, images: Tensor, result: Quantized, shift: float = 0.0) -> float:
    """Change the bias of `result`'s presence head by its error over images [n, 3, side, side], and by `shift`.

    Returns by how much.
    """
    (logistic,) = (op for op in net.ops if op.name == "LOGISTIC")
    (output,) = (index for index, name in net.names.items() if name == "presence")
    grid = result.grids[logistic.inputs[0]]
    errors, weights = [], []
    for batch in tqdm(torch.split(images, BATCH), desc="presence", unit="batch", leave=False):
        exact = net.forward(batch)[net.names[output]].flatten()
        ours = result.forward(net, batch)[net.names[output]].flatten()
        wanted, given = (torch.logit(p, 1 / 512) for p in (exact, ours))
        errors.append(grid.snap(wanted) - given)
        weights.append(exact * (1 - exact))
    error, weight = torch.cat(errors), torch.cat(weights)
    correction = float((error * weight).sum() / (weight.sum() + DOUBT)) + shift
    head = net.producer[logistic.inputs[0]].index
    result.biases[head] = result.biases[head] + correction
    return correction
