"""Integer weights: GPTQ's column-wise error feedback (Frantar et al. 2022, arXiv 2210.17323) on convolutions."""

import torch
import torch.nn.functional as F  # noqa: N812 -- its name everywhere
from torch import Tensor

from models.build.graph import Op, pad_same

WEIGHT_MAX = 127
# Input patches that a covariance is taken over: a depthwise kernel has 9 or 25 columns, others up to some hundreds.
ROWS, DEPTHWISE_ROWS = 32_000, 12_000


def weight_scale(weights: Tensor) -> Tensor:
    """The scale of each output channel's weights, [out, 1, 1, 1]: the largest magnitude becomes 127."""
    return weights.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-9) / WEIGHT_MAX


def adds_up(op: Op, weights: Tensor) -> bool:
    """Whether it is a depthwise convolution that sums what lies one behind the other (`stacked`).

    Its weights are whole numbers where the largest is 127: there is nothing to round.
    """
    return op.depthwise and weights.shape[2] < weights.shape[3]


def nearest(weights: Tensor, scale: Tensor) -> Tensor:
    """Plain rounding to integers."""
    return torch.clamp(torch.round(weights / scale), -WEIGHT_MAX, WEIGHT_MAX)


# A channel's weights may be scaled to exceed 127, so that the largest are clipped and all others get finer steps.
SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


def gptq(
    op: Op, weights: Tensor, inputs: Tensor, damping: float = 0.01, shrinks: tuple[float, ...] = SHRINKS
) -> tuple[Tensor, Tensor]:
    """Integer weights, shaped as `weights`, that keep the convolution's output on (quantized) inputs; their scale.

    Columns are rounded one after the other, the widest input first; the error that each leaves is taken up by the
    columns still to come, by the inverse of the inputs' covariance. `damping` is added to its diagonal, as a share of
    the diagonal's mean. The covariance is centred: the bias correction that follows sees to the mean. A weight that is
    0 stays 0, so that a pruned model stays sparse (Frantar and Alistarh 2023, arXiv 2301.00774). Each output channel
    takes that of the scales which leaves the smallest error: `shrinks` times the one that makes its largest weight 127.
    """
    covariance = _covariance(op, weights, inputs, damping)  # [groups, columns, columns]
    columns = weights.double().reshape(len(covariance), -1, covariance.shape[1])
    scale = weight_scale(weights).double().reshape(*columns.shape[:2], 1)
    best, integers, scales = torch.full_like(scale, float("inf")), torch.zeros_like(columns), scale.clone()
    for shrink in shrinks:
        rounded = _feed_back(columns, scale * shrink, covariance)
        left = columns - rounded * (scale * shrink)
        error = ((left @ covariance) * left).sum(2, keepdim=True)
        better = error < best
        best = torch.where(better, error, best)
        integers, scales = torch.where(better, rounded, integers), torch.where(better, scale * shrink, scales)
    return integers.float().reshape(weights.shape), scales.float().reshape(-1, 1, 1, 1)


def _feed_back(weights: Tensor, scale: Tensor, covariance: Tensor) -> Tensor:
    """Weights [groups, rows, columns], scale [groups, rows, 1], damped covariance [groups, columns, columns]."""
    order = torch.argsort(torch.diagonal(covariance, dim1=1, dim2=2), dim=1, descending=True)
    left = torch.gather(weights, 2, order[:, None].expand_as(weights))
    kept = left != 0
    covariance = torch.gather(covariance, 1, order[:, :, None].expand_as(covariance))
    covariance = torch.gather(covariance, 2, order[:, None].expand_as(covariance))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
    factor = torch.linalg.cholesky(inverse, upper=True)
    result = torch.zeros_like(left)
    for column in range(left.shape[2]):
        here = slice(column, column + 1)
        result[:, :, here] = nearest(left[:, :, here], scale) * kept[:, :, here]
        error = (left[:, :, here] - result[:, :, here] * scale) / factor[:, column, column][:, None, None]
        left[:, :, column + 1 :] -= error * factor[:, here, column + 1 :]
    back = torch.argsort(order, dim=1)
    return torch.gather(result, 2, back[:, None].expand_as(result))


def _covariance(op: Op, weights: Tensor, inputs: Tensor, damping: float) -> Tensor:
    """Damped, centred covariance of the patches that an output value is a product with, [groups, columns, columns]."""
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
    covariance = (patches.transpose(1, 2) @ patches).double() / patches.shape[1]
    diagonal = torch.diagonal(covariance, dim1=1, dim2=2)
    extra = damping * diagonal.mean(1).clamp_min(1e-12)
    return covariance + torch.diag_embed(extra[:, None].expand_as(diagonal))
