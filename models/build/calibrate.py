"""From calibration crops to a recipe: the steps in their order."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.build import (
    dead_search,
    detector_bias,
    detector_ranges,
    equalize,
    fold,
    int8,
    plan,
    presence_bias,
    ranges,
    resume,
    sequential,
    stacked,
    surgery,
    upstream,
)
from models.build.dead import Dropped
from models.build.flat import Model
from models.build.graph import CONVOLUTIONS, RELU6, Net, to_nchw
from models.build.ranges import Grid
from models.build.recipe import Recipe, equalized_weights, nearest_integers
from models.build.segments import Edges
from models.build.sequential import Quantized, Steps
from models.build.upstream import Upstream

# A pixel p enters as int8 p - 128. The landmark models take p / 255, so that is exact. The detector takes
# p / 127.5 - 1 = (q + 0.5) / 127.5: the half step goes into the first convolution's bias.
INPUT_GRIDS = {"landmarks": Grid(float(np.float32(1 / 255)), -128), "detector": Grid(float(np.float32(1 / 127.5)), 0)}
DETECTOR_OFFSET = 0.5 / 127.5
# The tail of `int8` is float. That of `int8-full` needs its few steps: less room for what calibration did not see.
TAIL_LIMITS = equalize.Limits(small_map=4.5)

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


def prepared(model: Upstream, precision: str) -> Model:
    """The float graph of an upstream model that quantization starts from."""
    return surgery.prepare(fold.to_float16(upstream.upstream_bytes(model), model.role, ""), model.role, precision)


def cut_net(model: Upstream, precision: str, images: torch.Tensor) -> tuple[Net, dict[int, Edges], Dropped]:
    """The float net without its constant channels and with its bottlenecks cut; where, and what was left out."""
    graph = prepared(model, precision)
    net = Net(graph)
    stats = equalize.observe(net, images)
    dropped = {} if model.role == "detector" else dead_search.find(net, stats)
    clipped = {op.output for op in net.ops if op.activation == RELU6}
    edges = stacked.align(graph, plan.edges(stats, plan.segment_counts(net, model.role, precision), clipped))
    return rewritten(model, precision, dropped, edges), edges, dropped


def rewritten(model: Upstream, precision: str, dropped: Dropped, edges: dict[int, Edges]) -> Net:
    """The float net without these channels and with its bottlenecks cut here."""
    graph = prepared(model, precision)
    int8.rewrite(graph, model.role, precision, dropped, edges)
    return Net(graph)


def as_input(role: str, pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Pictures [n, side, side, 3] as the int8 model's real input, [n, 3, side, side]."""
    grid = INPUT_GRIDS[role]
    return to_nchw((pictures.astype(np.float32) - np.float32(128 + grid.zero)) * np.float32(grid.scale))


def equalized(
    net: Net, role: str, images: torch.Tensor, limits: equalize.Limits = equalize.DEFAULT_LIMITS
) -> Calibrated:
    """Apply the exact steps: input offset, shift, equalization."""
    if role == "detector":
        equalize.fold_input_offset(net, DETECTOR_OFFSET)
    # A third of the pictures is enough to find the channels' middles.
    equalize.shift(net, equalize.observe(net, images[::3]), shift_depthwise=True)
    factors = equalize.equalize(net, equalize.observe(net, images), limits)
    return Calibrated(net, factors, equalize.observe(net, images))


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


def make_grids(
    calibrated: Calibrated, role: str, float_ops: set[int], shares: dict[int, float] | None = None
) -> dict[int, Grid]:
    """A grid for every tensor, those that stay float too.

    Ranges are calibration's quantiles, or with `shares` its extremes, of some tensors only the given share of them: a
    person is in few cells of a detector's frame, and a quantile would cut off just what it looks for.
    """
    net, stats = calibrated.net, calibrated.stats
    if shares is not None:
        low_high = {t: (shares.get(t, 1.0) * s.minimum, shares.get(t, 1.0) * s.maximum) for t, s in stats.items()}
        stats = {tensor: replace(s, low=low_high[tensor][0], high=low_high[tensor][1]) for tensor, s in stats.items()}
    fixed = {} if shares is not None else ranges.extremes(net, stats, float_ops)
    fixed |= ranges.lossless_clips(net, stats) | output_ranges(net)
    return ranges.choose(net, stats, INPUT_GRIDS[role], fixed)


def to_recipe(calibrated: Calibrated, edges: dict[int, Edges], dropped: Dropped, found: Quantized) -> Recipe:
    """Pack what was found."""
    net = calibrated.net
    recipe = Recipe(dropped, edges, {t: f.numpy() for t, f in calibrated.factors.items()}, float_ops=found.float_ops)
    recipe.grids = {tensor: (grid.scale, grid.zero) for tensor, grid in found.grids.items()}
    operators = net.model.subgraphs[0].operators
    for op in net.ops:
        if op.name not in CONVOLUTIONS:
            continue
        if op.index in found.float_ops:
            recipe.float_biases[op.index] = found.biases[op.index].numpy().astype(np.float32)
            continue
        recipe.steps[op.index] = found.steps[op.index].flatten().numpy().astype(np.float32)
        weights = equalized_weights(net.model, operators[op.index], recipe.factors)
        base = nearest_integers(weights, recipe.steps[op.index], depthwise=op.depthwise)
        order = (1, 2, 3, 0) if op.depthwise else (0, 2, 3, 1)
        integers = found.integers[op.index].numpy().transpose(order).astype(np.int16)
        recipe.rounding[op.index] = integers - base
        scales = found.scales[op.index].flatten().numpy().astype(np.float32)
        recipe.scales[op.index] = scales
        unit = np.float64(found.grids[op.inputs[0]].scale) * scales.astype(np.float64)
        bias = np.round(found.biases[op.index].numpy().astype(np.float64) / unit)
        recipe.biases[op.index] = np.clip(bias, -(2**31) + 1, 2**31 - 1).astype(np.int32)
    return recipe


def run(
    model: Upstream,
    precision: str,
    pictures: NDArray[np.uint8],
    unseen: NDArray[np.uint8],
    steps: Steps,
    rounding_pictures: int = 128,
) -> tuple[Net, Recipe]:
    """The whole calibration of one model in one precision on uint8 pictures [n, side, side, 3].

    `unseen` are others, for what is corrected when everything is rounded.
    """
    torch.set_grad_enabled(False)
    images = as_input(model.role, pictures)
    net, edges, dropped = cut_net(model, precision, images)
    float_ops = plan.float_ops(net, model.role, precision)
    detects = model.role == "detector"
    limits = equalize.DEFAULT_LIMITS if detects or precision == "int8" else TAIL_LIMITS
    calibrated = equalized(net, model.role, images, limits)
    shares = detector_ranges.choose_shares(net, calibrated.stats, images) if detects else None
    grids = make_grids(calibrated, model.role, float_ops, shares)
    label = f"{model.variant} {precision}"
    rounded_by = images[:rounding_pictures]
    kept = resume.kept_for(model.variant, net, rounded_by, grids, float_ops, steps)
    found = sequential.quantize(net, rounded_by, grids, float_ops, steps=steps, label=label, kept=kept)
    if detects:
        detector_bias.correct(net, images, found)
    elif precision == "int8-full":
        shift = presence_bias.SHIFTS.get(model.variant, 0.0)
        presence_bias.correct(net, as_input(model.role, unseen), found, shift)
    return net, to_recipe(calibrated, edges, dropped, found)
