"""From calibration crops to a recipe: the steps in their order."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.build import detector_bias, detector_ranges, equalize, fold, ranges, sequential, surgery, upstream
from models.build.graph import CONVOLUTIONS, Net, to_nchw
from models.build.ranges import Grid
from models.build.recipe import Recipe, equalized_weights, nearest_integers
from models.build.sequential import Quantized, Steps
from models.build.upstream import Upstream

# A pixel p enters as int8 p - 128. The landmark models take p / 255, so that is exact. The detector takes
# p / 127.5 - 1 = (q + 0.5) / 127.5: the half step goes into the first convolution's bias.
INPUT_GRIDS = {"landmarks": Grid(float(np.float32(1 / 255)), -128), "detector": Grid(float(np.float32(1 / 127.5)), 0)}
DETECTOR_OFFSET = 0.5 / 127.5

# Logits and offsets beyond these decide nothing: the outputs' ranges stop there.
HEATMAP_LOGITS = (-10.0, 6.0)
SCORE_LOGITS = (-12.0, 8.0)
# Of anchors that may be a person (logit above -3) calibration saw centres within 13 px of the anchor, sizes of 39 to
# 45 px and keypoints up to 760 px away.
BOX_STEP_PX = 45 / 185  # nearly every size is 45 px: a whole number of steps
BOX_PX = (-66 * BOX_STEP_PX, 189 * BOX_STEP_PX)
KEYPOINTS_PX, KEYPOINTS_FAR_PX = (-128.0, 127.0), (-768.0, 762.0)


@dataclass
class Calibrated:
    """A net after the steps that keep its function, ready to be rounded."""

    net: Net
    factors: dict[int, torch.Tensor]
    stats: dict[int, equalize.Stats]


def net_of(model: Upstream) -> Net:
    """The prepared float net of an upstream model."""
    return Net(surgery.prepare(fold.to_float16(upstream.upstream_bytes(model), model.role, ""), model.role))


def as_input(role: str, pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Pictures [n, side, side, 3] as the int8 model's real input, [n, 3, side, side]."""
    grid = INPUT_GRIDS[role]
    return to_nchw((pictures.astype(np.float32) - np.float32(128 + grid.zero)) * np.float32(grid.scale))


def equalized(
    net: Net, role: str, images: torch.Tensor, *, use_shift: bool = True, alpha: float = 0.5, cap: float = 64.0
) -> Calibrated:
    """Apply the exact steps: input offset, shift, equalization."""
    if role == "detector":
        equalize.fold_input_offset(net, DETECTOR_OFFSET)
    stats = equalize.observe(net, images[::3])  # enough to find the channels' middles
    if use_shift:
        equalize.shift(net, stats, shift_depthwise=role == "detector")
        stats = equalize.observe(net, images)
    factors = {}
    if alpha > 0:
        factors = equalize.equalize(net, stats, alpha, cap)
        stats = equalize.observe(net, images)
    return Calibrated(net, factors, stats)


def output_ranges(net: Net) -> dict[int, ranges.Range]:
    """Fixed ranges of the outputs that hold logits or boxes."""
    limits = {
        "heatmap": HEATMAP_LOGITS,
        "scores": SCORE_LOGITS,
        "boxes": BOX_PX,
        "keypoints": KEYPOINTS_PX,
        "keypoints_far": KEYPOINTS_FAR_PX,
    }
    return {index: limits[name] for index, name in net.names.items() if name in limits}


def float_tail(net: Net, role: str) -> set[int]:
    """The ops that `int8` keeps float: feature maps of 4 x 4 and smaller, and the heads that read them."""
    if role == "detector":
        return set()
    tail = set()
    tensors: set[int] = set()
    for op in net.ops:
        shape = net.shapes[op.output]
        small = len(shape) == 4 and shape[1] <= 4
        if small or set(op.inputs) & tensors:
            tail.add(op.index)
            tensors.add(op.output)
    return tail


def make_grids(calibrated: Calibrated, role: str, shares: dict[int, float] | None = None) -> dict[int, Grid]:
    """A grid for every tensor, as the all-integer model needs them.

    Ranges are calibration's quantiles, or with `shares` its extremes, of some tensors only the given share of them: a
    person is in few cells of a detector's frame, and a quantile would cut off just what it looks for.
    """
    net, stats = calibrated.net, calibrated.stats
    if shares is not None:
        low_high = {t: (shares.get(t, 1.0) * s.minimum, shares.get(t, 1.0) * s.maximum) for t, s in stats.items()}
        stats = {tensor: replace(s, low=low_high[tensor][0], high=low_high[tensor][1]) for tensor, s in stats.items()}
    fixed = ranges.lossless_clips(net, stats) | output_ranges(net)
    return ranges.choose(net, stats, INPUT_GRIDS[role], fixed)


def to_recipe(calibrated: Calibrated, full: Quantized, mixed: Quantized) -> Recipe:
    """Pack what was found: the all-integer result, and the one with float ops."""
    net = calibrated.net
    recipe = Recipe(factors={t: f.numpy() for t, f in calibrated.factors.items()})
    recipe.grids = {tensor: (grid.scale, grid.zero) for tensor, grid in full.grids.items()}
    operators = net.model.subgraphs[0].operators
    for op in net.ops:
        if op.name not in CONVOLUTIONS:
            continue
        base = nearest_integers(
            equalized_weights(net.model, operators[op.index], recipe.factors), depthwise=op.depthwise
        )
        order = (1, 2, 3, 0) if op.depthwise else (0, 2, 3, 1)
        integers = full.integers[op.index].numpy().transpose(order).astype(np.int16)
        recipe.rounding[op.index] = (integers - base).astype(np.int8)
        scales = full.scales[op.index].flatten().numpy().astype(np.float32)
        recipe.scales[op.index] = scales
        unit = np.float64(full.grids[op.inputs[0]].scale) * scales.astype(np.float64)
        bias = np.round(full.biases[op.index].numpy().astype(np.float64) / unit)
        recipe.biases[op.index] = np.clip(bias, -(2**31) + 1, 2**31 - 1).astype(np.int32)
        if op.index in mixed.float_ops:
            recipe.float_biases[op.index] = mixed.biases[op.index].numpy().astype(np.float32)
    recipe.float_ops = mixed.float_ops
    return recipe


def run(model: Upstream, pictures: NDArray[np.uint8], steps: Steps, rounding_pictures: int = 128) -> tuple[Net, Recipe]:
    """The whole calibration of one model on uint8 pictures [n, side, side, 3]."""
    torch.set_grad_enabled(False)
    images = as_input(model.role, pictures)
    calibrated = equalized(net_of(model), model.role, images)
    net = calibrated.net
    detects = model.role == "detector"
    shares = detector_ranges.choose_shares(net, calibrated.stats, images) if detects else None
    grids = make_grids(calibrated, model.role, shares)
    tail = float_tail(net, model.role)
    full, mixed = sequential.quantize(
        net, images[:rounding_pictures], grids, tail, steps=steps, label=f"{model.variant} int8"
    )
    if detects:
        detector_bias.correct(net, images, full)
    return net, to_recipe(calibrated, full, mixed)
