"""What each precision keeps float, and which bottlenecks it cuts into segments."""

from collections.abc import Container

import numpy as np
import torch

from models.build import detector_full, segments
from models.build.equalize import Stats
from models.build.graph import CONVOLUTIONS, NO_ACTIVATION, RELU6, Net, Op
from models.build.segments import Edges

# A channel's range is what calibration saw of it, widened by this factor about its middle, and no narrower than this
# share of the tensor's widest: beyond it, values are clipped.
MARGIN, LEAST_SHARE = 1.2, 0.1
# A bottleneck that one convolution reads is cut into as many segments as give no more channels than this.
MOST_CHANNELS = 16
# In `int8-full` the residual streams are cut too, where no more than this many channels come of it.
STREAM_SEGMENTS, MOST_STREAM_CHANNELS = 2, 192
STEM_SEGMENTS = 2  # of a channel of its first two tensors, where the front is not small
# In the tail (`stacked`) a sum's segments take next to no weights, its branch's twice the convolution's, and those of
# the last sum twice the heads'. XNNPACK lays at most five tensors side by side.
TAIL_SEGMENTS, BRANCH_SEGMENTS, LAST_SEGMENTS = 4, 2, 2
SMALL = 4  # feature maps of this side and smaller are the tail
# The front (see `front`) stays float where it has no more multiplications than this: float takes little longer there.
FRONT_MULTIPLICATIONS = 32e6
# In a net of more multiplications than this (heavy) the stem and the heatmap are a small share: they stay float.
LARGE = 1e9


def bottlenecks(net: Net) -> list[Op]:
    """The linear 1x1 convolutions of the trunk: everything before the tail that the heatmap is not made of."""
    later = _later(net)
    return [
        op
        for op in net.ops
        if op.name == "CONV_2D"
        and op.activation == NO_ACTIVATION
        and op.output not in net.outputs
        and op.index not in later
        and not _small(net, op)
    ]


def segment_counts(net: Net, role: str, precision: str) -> dict[int, int]:
    """Bottleneck tensor -> the number of segments that a channel of it is cut into."""
    if role == "detector":
        return _detector_segments(net) if precision == "int8-full" else {}
    counts = {}
    left_out = front(net) if precision == "int8" else set()
    for op in bottlenecks(net):
        if op.index in left_out:
            continue
        readers = net.consumers[op.output]
        if len(readers) == 1 and readers[0].name == "CONV_2D":
            counts[op.output] = max(1, MOST_CHANNELS // net.shapes[op.output][3])
        elif precision == "int8":
            counts[op.output] = 1
    if precision == "int8-full":
        counts |= _stem_counts(net) | _stream_counts(net) | tail_counts(net)
    return counts


def _stem_counts(net: Net) -> dict[int, int]:
    """The first convolution's output and the depthwise one's behind it; a net whose front is small gains nothing."""
    return {} if front(net) else {op.output: STEM_SEGMENTS for op in net.ops[:3] if op.name in CONVOLUTIONS}


def tail_counts(net: Net) -> dict[int, int]:
    """The sums with ReLU6, their branches, and what is pooled to become the first summand.

    None in a net that has such sums before its tail (heavy): they would take too many weights (`residuals`).
    """
    counts: dict[int, int] = {}
    sums = [op for op in net.ops if op.name == "ADD" and op.activation == RELU6]
    if not all(_small(net, op) for op in sums):
        return counts
    for op in sums:
        for writer in (net.producer[tensor] for tensor in op.inputs):
            if writer.name == "CONV_2D":
                counts[writer.output] = BRANCH_SEGMENTS
            elif writer.name == "MAX_POOL_2D":
                counts.setdefault(writer.inputs[0], 1)
        counts[op.output] = TAIL_SEGMENTS if op is not sums[-1] else LAST_SEGMENTS
    return counts


def _stream_counts(net: Net) -> dict[int, int]:
    """The linear tensors that residual sums read or write, but for their branches; the heatmap's sums, one segment."""
    later = _later(net)
    sums = [op for op in net.ops if op.name == "ADD" and op.activation == NO_ACTIVATION and op.index not in later]
    summands = {tensor for op in sums for tensor in op.inputs if len(net.consumers[tensor]) > 1}
    streams = {*summands, *(op.output for op in sums)}
    channels = {tensor: STREAM_SEGMENTS * net.shapes[tensor][3] for tensor in streams}
    found = {tensor: STREAM_SEGMENTS if channels[tensor] <= MOST_STREAM_CHANNELS else 1 for tensor in sorted(streams)}
    return found | {op.output: 1 for op in net.ops if _adds_resized(net, op)}


def edges(stats: dict[int, Stats], counts: dict[int, int], clipped: Container[int] = ()) -> dict[int, Edges]:
    """Where the segments of each tensor's channels lie, from the float net's `stats`; `clipped` are behind a ReLU6."""
    result = {}
    for tensor, count in counts.items():
        low, high = stats[tensor].channel_min, stats[tensor].channel_max
        assert low is not None
        assert high is not None
        if tensor in clipped:  # a padding's 0 is to stay 0
            high = (high * MARGIN).clamp(max=segments.TOP)
            low, high = torch.zeros_like(high), high.clamp_min(LEAST_SHARE * float(high.max()))
        else:
            middle, half = (low + high) / 2, (high - low) / 2 * MARGIN
            half = half.clamp_min(LEAST_SHARE * float(half.max()))
            positive = not (low < 0).any()  # a sum of what is behind ReLU6
            low, high = (middle - half).clamp_min(0) if positive else middle - half, middle + half
        result[tensor] = np.linspace(low.numpy(), high.numpy(), count + 1).astype(np.float32)
    return result


def _detector_segments(net: Net) -> dict[int, int]:
    """For the detector's `int8-full`: two a channel of the stem's first tensors and of the wide maps' linear ones.

    And one where a channel of a depthwise convolution is linear and one convolution reads it.
    """
    stem = [op for op in net.ops[:3] if op.name == "CONV_2D"]
    wide = [op for op in bottlenecks(net) if net.shapes[op.output][1] >= detector_full.LEAST_SIDE]
    counts = {op.output: 2 for op in stem + wide}
    for op in net.ops:
        readers = [reader.name for reader in net.consumers.get(op.output, [])]
        if op.depthwise and op.activation == NO_ACTIVATION and readers == ["CONV_2D"]:
            counts[op.output] = 1
    return counts


def float_ops(net: Net, role: str, precision: str) -> set[int]:
    """The ops that stay float in `int8`: those with little to compute. In `int8-full` none does.

    They are: whatever writes a linear tensor (the sums of the residual streams, the convolutions that put segments
    together) but the heatmap; the sums and resizings that the heatmap is made from, with their skip branches; the tail
    with the heads; and the front, where it is small. In a large net the stem, the heatmap and the sums behind the
    decoder as well. Of the detector they are the stem and a block of the pyramid.
    """
    if precision != "int8":
        return set()
    if role == "detector":
        return _stem(net) | _pyramid_block(net)
    chosen = _reachable(net, {op.output for op in net.ops if _small(net, op)})
    for op in net.ops:
        linear = op.activation == NO_ACTIVATION and op.name in {*CONVOLUTIONS, "ADD", "RESIZE_BILINEAR"}
        if (linear and op.output not in net.outputs) or _is_resized(net, op):
            chosen.add(op.index)
    large = _wide_ends(net) if sum(_multiplications(net, op) for op in net.ops) > LARGE else set()
    return chosen | front(net) | _skips(net) | large


def front(net: Net) -> set[int]:
    """The ops behind the first convolution down to the first sum.

    Their tensors are large, their convolutions small: int8 is hardly faster than float there, and loses the most.
    """
    first = next(op for op in net.ops if op.name == "CONV_2D")
    last = next(op for op in net.ops if op.name == "ADD")
    ops = [op for op in net.ops if first.index < op.index <= last.index]
    multiplications = sum(_multiplications(net, op) for op in ops)
    return {op.index for op in ops} if multiplications < FRONT_MULTIPLICATIONS else set()


def _multiplications(net: Net, op: Op) -> int:
    if op.index not in net.params:
        return 0
    _, height, width, _ = net.shapes[op.output]
    return int(height * width * net.params[op.index][0].numel())


def _skips(net: Net) -> set[int]:
    """The convolutions from a bridge (`surgery.add_bridges`) to the sum that the heatmap is made of."""
    found = set()
    for op in net.ops:
        if op.depthwise and op.activation == NO_ACTIVATION and net.producer[op.inputs[0]].name == "ADD":
            for reader in net.consumers[op.output]:
                found |= {reader.index, *(after.index for after in net.consumers[reader.output])}
    return found


def _wide_ends(net: Net) -> set[int]:
    """The ops down to the first bottleneck, the heatmap, and the sums of the streams that lead from it to the tail."""
    _, bottleneck = (op.index for op in [op for op in net.ops if op.name == "CONV_2D"][:2])
    later = _later(net)
    return {
        op.index
        for op in net.ops
        if op.index <= bottleneck or net.names.get(op.output) == "heatmap" or (op.name == "ADD" and op.index in later)
    }


def _stem(net: Net) -> set[int]:
    """The ops at half the input's size and what follows, down to the first bottleneck and the sum that it enters."""
    first = next(op for op in net.ops if op.name == "CONV_2D" and op.activation == NO_ACTIVATION)
    sums = {op.index for op in net.consumers[first.output] if op.name == "ADD"}
    return {op.index for op in net.ops if op.index <= first.index} | sums


def _pyramid_block(net: Net) -> set[int]:
    """The detector's feature pyramid at its middle level: from the last block's input on, up to the last resizing."""
    resizing = [op for op in net.ops if op.name == "RESIZE_BILINEAR"][-1]
    block_end = net.producer[resizing.inputs[0]]
    start = min(net.producer[tensor].index for tensor in block_end.inputs)
    return {op.index for op in net.ops if start <= op.index < resizing.index}


def _adds_resized(net: Net, op: Op) -> bool:
    return op.name == "ADD" and any(net.producer[i].name == "RESIZE_BILINEAR" for i in op.inputs)


def _is_resized(net: Net, op: Op) -> bool:
    return any(reader.name == "RESIZE_BILINEAR" for reader in net.consumers.get(op.output, []))


def _later(net: Net) -> set[int]:
    """What is computed from the tail's tensors or from a resized one, and these themselves."""
    return _reachable(net, {op.output for op in net.ops if _small(net, op) or op.name == "RESIZE_BILINEAR"})


def _small(net: Net, op: Op) -> bool:
    shape = net.shapes[op.output]
    return len(shape) == 4 and shape[1] <= SMALL


def _reachable(net: Net, tensors: set[int]) -> set[int]:
    """The ops that write one of these tensors or compute something from them."""
    found: set[int] = set()
    reached = set(tensors)
    for op in net.ops:
        if op.output in reached or reached & set(op.inputs):
            found.add(op.index)
            reached.add(op.output)
    return found
