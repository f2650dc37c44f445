"""The detector's heads in a form that quantizes well, that the Edge TPU has every op of, and that stays small.

Exact in real arithmetic and elementwise in double precision, so that it gives the same bytes everywhere.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models.build import flat
from models.build.flat import Model, Operator

VALID = schema.Padding.VALID
VALUES_PER_ANCHOR = 12
DENSE_CHANNELS = 200  # so the coarsest layer, of 1152, is the only one that is not dense; it hardly ever fires
# Which of an anchor's 12 values go into which output. A box reaches a few dozen px. Keypoints reach some ten px on a
# small person, where each px counts, and hundreds on one close to the camera: they come out twice, finely and far.
BOX_PARTS: dict[str, slice] = {"boxes": slice(0, 4), "keypoints": slice(4, 12), "keypoints_far": slice(4, 12)}


def prepare(model: Model) -> None:
    """All rewrites, in place."""
    merge_linear_pairs(model)
    unfold_depth_to_space(model)
    split_boxes(model)
    flat.prune(model)


def merge_linear_pairs(model: Model) -> int:
    """Make one 1x1 convolution of two where nothing is between them and nobody else reads what is; returns how many.

    The first bottleneck is such a pair. Its 16 linear channels, in int8, are the largest single source of error.
    """
    graph = model.subgraphs[0]
    merged = 0
    for first in list(graph.operators):
        readers = [op for op in graph.operators if int(first.outputs[0]) in op.inputs]
        if len(readers) != 1 or not all(_is_pointwise(model, op) for op in (first, readers[0])):
            continue
        if first.builtinOptions.fusedActivationFunction != 0 or int(first.outputs[0]) in graph.outputs:
            continue
        second = readers[0]
        inner, outer = (flat.constant(model, op.inputs[1]) for op in (first, second))
        inner_bias, outer_bias = (flat.constant(model, op.inputs[2]) for op in (first, second))
        assert inner is not None
        assert outer is not None
        assert inner_bias is not None
        assert outer_bias is not None
        # Plain sums in a fixed order: a matrix product's order depends on the library and its threads.
        weights = np.zeros((len(outer), 1, 1, inner.shape[3]))
        bias = outer_bias.astype(np.float64)
        for channel in range(len(inner)):
            column = outer[:, 0, 0, channel].astype(np.float64)
            weights = weights + column[:, None, None, None] * inner[channel].astype(np.float64)
            bias = bias + column * float(inner_bias[channel])
        constants = [flat.add_constant(model, value.astype(np.float32), "") for value in (weights, bias)]
        second.inputs = np.array([int(first.inputs[0]), *constants], np.int32)
        merged += 1
    flat.prune(model)
    return merged


def _is_pointwise(model: Model, op: Operator) -> bool:
    if flat.op_name(model, op) != "CONV_2D":
        return False
    weights = flat.constant(model, op.inputs[1])
    return weights is not None and weights.shape[1:3] == (1, 1)


def unfold_depth_to_space(model: Model) -> int:
    """Replace DEPTH_TO_SPACE + PAD + depthwise 3x3 (stride 2) + 1x1 by top-left PAD + 2x2 convolution.

    The stride undoes the depth-to-space, so the chain can stay at the lower resolution: each of the four channels that
    a high-resolution channel came from gets its share of the kernel, and the 1x1 adds them up. This removes the only op
    that the Edge TPU lacks. Of few channels it becomes one dense convolution, which has no tensor in between to round;
    of many a depthwise and a 1x1 one, which have a quarter of the weights. Returns the number of heads.
    """
    graph = model.subgraphs[0]
    producer = {int(i): op for op in graph.operators for i in op.outputs}
    pads: dict[int, int] = {}
    operators: list[Operator] = []
    heads = 0
    for op in graph.operators:
        chain = _chain(model, op, producer)
        if chain is None:
            operators.append(op)
            continue
        depthwise, source = chain
        if source not in pads:
            operators.append(_pad_top_left(model, source))
            pads[source] = int(operators[-1].outputs[0])
        kernel = _low_resolution_kernel(model, depthwise)
        weights, bias = _mixing(model, depthwise, op)
        reads = pads[source]
        if kernel.shape[3] <= DENSE_CHANNELS:
            weights = weights * kernel
        else:
            operators.append(_depthwise(model, kernel, reads))
            reads = int(operators[-1].outputs[0])
        constants = [flat.add_constant(model, value.astype(np.float32), "") for value in (weights, bias)]
        op.inputs = np.array([reads, *constants], np.int32)
        op.builtinOptions.padding = VALID
        operators.append(op)
        heads += 1
    graph.operators = operators
    flat.prune(model)
    return heads


def _chain(model: Model, op: Operator, producer: dict[int, Operator]) -> tuple[Operator, int] | None:
    """The depthwise op and the low-resolution tensor if this convolution ends such a chain."""
    wanted = ("CONV_2D", "DEPTHWISE_CONV_2D", "PAD", "DEPTH_TO_SPACE")
    chain = [op]
    for name in wanted:
        if flat.op_name(model, chain[-1]) != name:
            return None
        chain.append(producer.get(int(chain[-1].inputs[0]), chain[-1]))
    depthwise, pad = chain[1], chain[2]
    options = depthwise.builtinOptions
    assert (options.strideH, options.padding, options.fusedActivationFunction) == (2, VALID, 0)
    padding = flat.constant(model, pad.inputs[1])
    assert padding is not None
    assert padding.tolist() == [[0, 0], [1, 1], [1, 1], [0, 0]]
    return depthwise, int(chain[3].inputs[0])


def _pad_top_left(model: Model, source: int) -> Operator:
    batch, height, width, channels = (int(n) for n in model.subgraphs[0].tensors[source].shape)
    amounts = flat.add_constant(model, np.array([[0, 0], [1, 0], [1, 0], [0, 0]], np.int32), "")
    output = flat.add_tensor(model, [batch, height + 1, width + 1, channels], "")
    return flat.new_op(model, "PAD", 1, [source, amounts], [output], options=schema.PadOptionsT())


# Row (or column) t of the 3x3 depthwise kernel sees the high-resolution row 2y + t - 1. In low resolution that is, as
# (kernel row, sub-row of the block): t = 0 the lower sub-row of y - 1, t = 1 the upper and t = 2 the lower of y.
_TAPS = {0: (0, 1), 1: (1, 0), 2: (1, 1)}


def _low_resolution_kernel(model: Model, depthwise: Operator) -> NDArray[np.float64]:
    """The depthwise weights at low resolution, [1, 2, 2, 4 x channels]."""
    kernel = flat.constant(model, depthwise.inputs[1])
    assert kernel is not None
    channels = kernel.shape[3]
    weights = np.zeros((1, 2, 2, 4 * channels))
    for row, (kernel_row, sub_row) in _TAPS.items():
        for column, (kernel_column, sub_column) in _TAPS.items():
            first = (2 * sub_row + sub_column) * channels
            weights[0, kernel_row, kernel_column, first : first + channels] = kernel[0, row, column]
    return weights


def _depthwise(model: Model, kernel: NDArray[np.float64], source: int) -> Operator:
    """The depthwise 2x2 convolution; its bias is in the 1x1 that follows."""
    options = flat.depthwise_options()
    weights, bias = kernel.astype(np.float32), np.zeros(kernel.shape[3], np.float32)
    constants = [flat.add_constant(model, value, "") for value in (weights, bias)]
    batch, height, width, depth = (int(n) for n in model.subgraphs[0].tensors[source].shape)
    output = flat.add_tensor(model, [batch, height - 1, width - 1, depth], "")
    return flat.new_op(model, "DEPTHWISE_CONV_2D", 1, [source, *constants], [output], options=options)


def _mixing(model: Model, depthwise: Operator, head: Operator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The 1x1 convolution's weights over four times the channels, and its bias with the depthwise one's in it."""
    inner = flat.constant(model, depthwise.inputs[2])
    matrix, outer = flat.constant(model, head.inputs[1]), flat.constant(model, head.inputs[2])
    assert inner is not None
    assert matrix is not None
    assert outer is not None
    # A plain sum in a fixed order: a matrix product's order depends on the library and its threads.
    bias = outer.astype(np.float64)
    for channel in range(matrix.shape[3]):
        bias = bias + matrix[:, 0, 0, channel].astype(np.float64) * float(inner[channel])
    return np.tile(matrix.astype(np.float64), (1, 1, 1, 4)), bias


def split_boxes(model: Model) -> None:
    """Replace the output `boxes` of 12 values an anchor by `boxes` (4) and keypoints (8, twice), each of its own scale.

    The convolutions' rows are dealt out; what follows (RESHAPE, CONCATENATION) is made for each.
    """
    graph = model.subgraphs[0]
    old = next(int(i) for i in graph.outputs if graph.tensors[i].name == b"boxes")
    producer = {int(i): op for op in graph.operators for i in op.outputs}
    joined = producer[old]
    made: list[Operator] = []
    outputs: dict[int, str] = {}
    for name, part in BOX_PARTS.items():
        pieces = []
        for piece in joined.inputs:
            made += _part_of_head(model, producer[int(producer[int(piece)].inputs[0])], part)
            pieces.append(int(made[-1].outputs[0]))
        shape = [int(n) for n in graph.tensors[old].shape[:2]] + [part.stop - part.start]
        output = flat.add_tensor(model, shape, name)
        options = schema.ConcatenationOptionsT()
        options.axis = joined.builtinOptions.axis
        made.append(flat.new_op(model, "CONCATENATION", 1, pieces, [output], options=options))
        outputs[output] = name
    graph.operators = [*(op for op in graph.operators if op is not joined), *made]
    outputs |= {int(i): graph.tensors[i].name.decode() for i in graph.outputs if i != old}
    graph.outputs = np.array(list(outputs), np.int32)


def _part_of_head(model: Model, head: Operator, part: slice) -> list[Operator]:
    """A 1x1 head with only this part of each anchor's values, and the RESHAPE to [1, anchors, values]."""
    graph = model.subgraphs[0]
    weights, bias = flat.constant(model, head.inputs[1]), flat.constant(model, head.inputs[2])
    assert weights is not None
    assert bias is not None
    values = range(VALUES_PER_ANCHOR)[part]
    rows = [k for k in range(len(bias)) if k % VALUES_PER_ANCHOR in values]
    batch, height, width, _ = (int(n) for n in graph.tensors[head.outputs[0]].shape)
    constants = [flat.add_constant(model, value, "") for value in (weights[rows], bias[rows])]
    grid = flat.add_tensor(model, [batch, height, width, len(rows)], "")
    options = flat.convolution_options()
    convolution = flat.new_op(model, "CONV_2D", 1, [int(head.inputs[0]), *constants], [grid], options=options)
    shape = [batch, height * width * len(rows) // len(values), len(values)]
    flat_list = flat.add_tensor(model, shape, "")
    size = flat.add_constant(model, np.array(shape, np.int32), "")
    return [convolution, flat.new_op(model, "RESHAPE", 1, [grid, size], [flat_list])]
