"""Integer weights: GPTQ's column-wise error feedback (Frantar et al. 2022, arXiv 2210.17323) on convolutions."""

import torch
import torch.nn.functional as F  # noqa: N812 -- its name everywhere
from torch import Tensor

from models.build.graph import Op, pad_same

WEIGHT_MAX = 127
# Input patches that a covariance is taken over: a depthwise kernel has 9 or 25 columns, others up to some hundreds.
ROWS, DEPTHWISE_ROWS = 16_000, 6_000


def weight_scale(weights: Tensor) -> Tensor:
    """The scale of each output channel's weights, [out, 1, 1, 1]: the largest magnitude becomes 127."""
    return weights.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-9) / WEIGHT_MAX


def nearest(weights: Tensor, scale: Tensor) -> Tensor:
    """Plain rounding to integers."""
    return torch.clamp(torch.round(weights / scale), -WEIGHT_MAX, WEIGHT_MAX)


def gptq(op: Op, weights: Tensor, scale: Tensor, inputs: Tensor, damping: float = 0.01) -> Tensor:
    """Integer weights, shaped as `weights`, that keep the convolution's output on these (quantized) inputs.

    Columns are rounded one after the other, the widest input first; the error that each leaves is taken up by the
    columns still to come, by the inverse of the inputs' covariance. `damping` is added to its diagonal, as a share of
    the diagonal's mean. The covariance is centred: the bias correction that follows sees to the mean. A weight that is
    0 stays 0, so that a pruned model stays sparse (Frantar and Alistarh 2023, arXiv 2301.00774).
    """
    covariance = _covariance(op, weights, inputs)  # [groups, columns, columns]
    shape = (len(covariance), -1, covariance.shape[1])
    rounded = _feed_back(weights.reshape(shape), scale.reshape(shape[0], -1, 1), covariance, damping)
    return rounded.reshape(weights.shape)


def _feed_back(weights: Tensor, scale: Tensor, covariance: Tensor, damping: float) -> Tensor:
    """Weights [groups, rows, columns], scale [groups, rows, 1], covariance [groups, columns, columns]."""
    covariance = covariance.double()
    diagonal = torch.diagonal(covariance, dim1=1, dim2=2)
    extra = damping * diagonal.mean(1).clamp_min(1e-12)
    covariance = covariance + torch.diag_embed(extra[:, None].expand_as(diagonal))
    order = torch.argsort(torch.diagonal(covariance, dim1=1, dim2=2), dim=1, descending=True)
    left = torch.gather(weights.double(), 2, order[:, None].expand_as(weights))
    kept = left != 0
    covariance = torch.gather(covariance, 1, order[:, :, None].expand_as(covariance))
    covariance = torch.gather(covariance, 2, order[:, None].expand_as(covariance))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
    factor = torch.linalg.cholesky(inverse, upper=True)
    scale = scale.double()
    result = torch.zeros_like(left)
    for column in range(left.shape[2]):
        here = slice(column, column + 1)
        result[:, :, here] = nearest(left[:, :, here], scale) * kept[:, :, here]
        error = (left[:, :, here] - result[:, :, here] * scale) / factor[:, column, column][:, None, None]
        left[:, :, column + 1 :] -= error * factor[:, here, column + 1 :]
    back = torch.argsort(order, dim=1)
    return torch.gather(result, 2, back[:, None].expand_as(result)).float()


def _covariance(op: Op, weights: Tensor, inputs: Tensor) -> Tensor:
    """Centred covariance of the patches that each output value is a product with, [groups, columns, columns]."""
    kernel, stride = weights.shape[2], op.stride
    x = pad_same(inputs, kernel, stride) if op.same else inputs
    size = (x.shape[2] - kernel) // stride + 1
    wanted = DEPTHWISE_ROWS if op.depthwise else ROWS
    count = min(len(x), max(2, wanted // (size * size)))
    x = x[torch.linspace(0, len(x) - 1, count).long()]
    if op.depthwise:
        rows = [slice(i, i + stride * (size - 1) + 1, stride) for i in range(kernel)]
        patches = torch.stack([x[:, :, a, b] for a in rows for b in rows], -1)
        patches = patches.permute(1, 0, 2, 3, 4).reshape(x.shape[1], -1, kernel * kernel)
    else:
        patches = F.unfold(x.contiguous(), kernel, stride=stride).transpose(1, 2).reshape(1, -1, x.shape[1] * kernel**2)
    patches = patches - patches.mean(1, keepdim=True)
    return patches.transpose(1, 2) @ patches / patches.shape[1]
