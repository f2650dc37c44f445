"""More than 8 bits for a linear bottleneck: each of its channels becomes one or more channels behind a ReLU6.

A bottleneck (a 1x1 convolution without activation) loses the most to int8: few channels, each with a range of its own,
in one tensor of one scale. Here a channel's range is cut into equal segments, and each becomes a channel of its own:
relu6((y - the segment's low) * 6 / its width). Their sum, scaled back, is y clamped to the range. So every channel gets
a scale and an offset of its own, and k segments give it k times 255 steps. That is exact in float and made of ordinary
convolutions.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models.build import flat
from models.build.flat import Model, Operator

RELU6, TOP = schema.ActivationFunctionType.RELU6, 6.0
Edges = NDArray[np.float32]  # [segments + 1, channels]: where a channel's segments begin, and where the last one ends
Parts = list[tuple[int, Edges | None]]  # the channels that lie side by side in a tensor, and where each part is cut


def cut(model: Model, edges: dict[int, Edges]) -> None:
    """Cut these tensors, each the output of a convolution, linear or behind a ReLU6; elementwise in double precision.

    A convolution that reads the tensor, or what it is laid side by side with, reads the segments instead; for other
    readers a convolution is added that puts them together and writes the old tensor. A depthwise convolution writes one
    segment a channel.
    """
    graph = model.subgraphs[0]
    operators: list[Operator] = []
    segments: dict[int, int] = {}  # of each cut tensor
    parts: dict[int, Parts] = {tensor: [(len(own[0]), own)] for tensor, own in edges.items()}
    for op in graph.operators:
        output, source = int(op.outputs[0]), int(op.inputs[0])
        if flat.op_name(model, op) == "CONCATENATION" and segments.keys() & {int(i) for i in op.inputs}:
            parts[output] = [(_channels(model, int(i)), edges.get(int(i))) for i in op.inputs]
            segments[output] = _lay_segments(model, op, segments)
        elif source in segments and _can_read(model, op, edges):
            _read_segments(model, op, segments[source], parts[source])
        operators.append(op)
        if output in edges:
            segments[output] = _write_segments(model, op, edges[output])
            if not all(_can_read(model, reader, edges) for reader in graph.operators if output in reader.inputs):
                operators.append(_together(model, output, segments[output], edges[output]))
    graph.operators = operators
    flat.prune(model)


def _width(edges: Edges) -> NDArray[np.float64]:
    """Width of each channel's segments, [channels]."""
    width: NDArray[np.float64] = (edges[-1].astype(np.float64) - edges[0]) / (len(edges) - 1)
    return width


def _channels(model: Model, tensor: int) -> int:
    return int(model.subgraphs[0].tensors[tensor].shape[3])


def _can_read(model: Model, op: Operator, edges: dict[int, Edges]) -> bool:
    """Whether an op reads segments itself: a 1x1 convolution, or one that pads with zeros what begins at 0."""
    if flat.op_name(model, op) == "CONCATENATION":
        return True
    if flat.op_name(model, op) != "CONV_2D":
        return False
    weights = flat.constant(model, op.inputs[1])
    assert weights is not None
    source = int(op.inputs[0])
    return bool(weights.shape[1] == 1 or (source in edges and not edges[source][0].any()))


def _constants(model: Model, op: Operator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    weights, bias = flat.constant(model, op.inputs[1]), flat.constant(model, op.inputs[2])
    assert weights is not None
    assert bias is not None
    return weights.astype(np.float64), bias.astype(np.float64)


def _set_constants(model: Model, op: Operator, weights: NDArray[Any], bias: NDArray[Any], source: int) -> None:
    new = [flat.add_constant(model, value.astype(np.float32), "") for value in (weights, bias)]
    op.inputs = np.array([source, *new], np.int32)


def _write_segments(model: Model, op: Operator, edges: Edges) -> int:
    """Make the convolution write the segments, one after the other for all channels; returns the new tensor."""
    weights, bias = _constants(model, op)
    factor = TOP / _width(edges)
    if flat.op_name(model, op) == "DEPTHWISE_CONV_2D":
        assert len(edges) == 2
        rows, axis = [weights * factor], 3
    else:
        rows, axis = [weights * factor[:, None, None, None]] * (len(edges) - 1), 0
    biases = [(bias - low) * factor for low in edges[:-1].astype(np.float64)]
    _set_constants(model, op, np.concatenate(rows, axis), np.concatenate(biases), int(op.inputs[0]))
    shape = [*model.subgraphs[0].tensors[op.outputs[0]].shape[:3], len(factor) * len(rows)]
    output = flat.add_tensor(model, shape, "")
    op.outputs = np.array([output], np.int32)
    op.builtinOptions.fusedActivationFunction = RELU6
    return output


def _lay_segments(model: Model, op: Operator, segments: dict[int, int]) -> int:
    """Make a CONCATENATION lay segments side by side where there are some; returns its new output."""
    op.inputs = np.array([segments.get(int(i), int(i)) for i in op.inputs], np.int32)
    shape = [int(n) for n in model.subgraphs[0].tensors[op.outputs[0]].shape[:3]]
    output = flat.add_tensor(model, [*shape, sum(_channels(model, int(i)) for i in op.inputs)], "")
    op.outputs = np.array([output], np.int32)
    return output


def _read_segments(model: Model, op: Operator, segments: int, parts: Parts) -> None:
    """Make the convolution that read the tensor read its segments; `parts` are its channels and how each is cut."""
    weights, bias = _constants(model, op)
    columns, first = [], 0
    for count, edges in parts:
        own = weights[..., first : first + count]
        first += count
        if edges is None:
            columns.append(own)
            continue
        for channel, low in enumerate(edges[0].astype(np.float64)):  # a plain sum in a fixed order
            bias = bias + own[:, 0, 0, channel] * low
        columns += [own * (_width(edges) / TOP)] * (len(edges) - 1)
    _set_constants(model, op, np.concatenate(columns, 3), bias, segments)


def _together(model: Model, output: int, segments: int, edges: Edges) -> Operator:
    """The convolution that writes the old tensor from its segments: depthwise where there is one a channel."""
    width, count = _width(edges) / TOP, len(edges) - 1
    depthwise = count == 1
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding = schema.Padding.VALID
    weights = width[None, None, None] if depthwise else np.concatenate([np.diag(width)] * count, 1)[:, None, None]
    if depthwise:
        options.depthMultiplier = 1
    op = flat.new_op(model, "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", 1, [], [output], options=options)
    _set_constants(model, op, weights, edges[0], segments)
    return op
