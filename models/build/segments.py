"""More than 8 bits for a linear bottleneck: each of its channels becomes one or more channels behind a ReLU6.

A bottleneck (a 1x1 convolution without activation) loses the most to int8: few channels, each with a range of its own,
in one tensor of one scale. Here a channel's range is cut into equal segments, and each becomes a channel of its own:
relu6((y - the segment's low) * 6 / its width). Their sum, scaled back, is y clamped to the range. So every channel gets
a scale and an offset of its own, and k segments give it k times 255 steps. That is exact in float and made of ordinary
convolutions.

Sums can be cut as well (`int8-full`): y + P d is one convolution of d and y's segments laid side by side, which writes
the sum's segments. So a residual stream is never rounded as a whole, nor the branch P d at all.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models.build import flat, residuals
from models.build.flat import Model, Operator

RELU6, TOP = schema.ActivationFunctionType.RELU6, 6.0
ONE_SEGMENT = 2  # edges
# By segments a channel: how many times over a sum reads the stream, each time that much smaller. In a row of weights of
# one scale, a single large one would leave few steps for those of the branch. XNNPACK lays at most five side by side.
COPIES = {1: 4, 2: 2}
Part = tuple[int, NDArray[np.float64], NDArray[np.float64]]  # a tensor and 1x1 weights and bias to read it with
Edges = NDArray[np.float32]  # [segments + 1, channels]: where a channel's segments begin, and where the last one ends
Parts = list[tuple[int, Edges | None]]  # the channels that lie side by side in a tensor, and where each part is cut


def cut(model: Model, edges: dict[int, Edges]) -> None:
    """Cut these tensors, each the output of a convolution, linear or behind a ReLU6, or an ADD's; in double precision.

    A convolution that reads the tensor, or what it is laid side by side with, reads the segments instead, and so does
    an ADD that is cut itself; a bridge (`surgery.add_bridges`) behind it puts them together. For other readers a
    convolution is added that writes the old tensor. A depthwise convolution reads and writes one segment a channel; for
    more it becomes a dense one.
    """
    operators = model.subgraphs[0].operators
    model.subgraphs[0].operators = [dense(model, op) if _needs_dense(model, op, edges) else op for op in operators]
    _Cutter(model, edges).run()
    flat.prune(model)


def _needs_dense(model: Model, op: Operator, edges: dict[int, Edges]) -> bool:
    """Whether it is a depthwise convolution behind a ReLU6 that is to read or write more than one segment a channel."""
    if flat.op_name(model, op) != "DEPTHWISE_CONV_2D" or _is_bridge(model, op):
        return False
    return any(len(edges[i]) > ONE_SEGMENT for i in (int(op.inputs[0]), int(op.outputs[0])) if i in edges)


class _Cutter:
    def __init__(self, model: Model, edges: dict[int, Edges]) -> None:
        self._model, self._edges = model, dict(edges)
        self._old = list(model.subgraphs[0].operators)
        self._writers = {int(op.outputs[0]): op for op in self._old}
        self._read = [int(i) for op in self._old for i in op.inputs]
        self._operators: list[Operator] = []
        self._segments: dict[int, int] = {}  # of each cut tensor
        self._parts: dict[int, Parts] = {tensor: [(len(own[0]), own)] for tensor, own in edges.items()}

    def run(self) -> None:
        for old in self._old:
            output = int(old.outputs[0])
            op = self._reading_segments(old)
            self._operators.append(op)
            if output in self._edges and output not in self._segments:
                segments = self._segments[output] = write_segments(self._model, op, self._edges[output])
                if not all(self._takes_segments(reader) for reader in self._old if output in reader.inputs):
                    self._operators.append(_together(self._model, output, segments, self._edges[output]))
        self._model.subgraphs[0].operators = self._operators

    def _takes_segments(self, op: Operator) -> bool:
        cut_sum = flat.op_name(self._model, op) == "ADD" and int(op.outputs[0]) in self._edges
        joins = flat.op_name(self._model, op) == "CONCATENATION"
        return cut_sum or joins or self._convolves(op) or self._bridges(op) or self._resizes(op)

    def _bridges(self, op: Operator) -> bool:
        """Whether it is a bridge behind a sum that is cut."""
        writer = self._writers.get(int(op.inputs[0]))
        return writer is not None and flat.op_name(self._model, writer) == "ADD" and _is_bridge(self._model, op)

    def _convolves(self, op: Operator) -> bool:
        """Whether it is a 1x1 convolution, or one that pads with zeros what begins at 0."""
        edges = self._edges.get(int(op.inputs[0]))
        from_zero = edges is not None and not edges[0].any()
        return _pointwise(self._model, op) or (flat.op_name(self._model, op) == "CONV_2D" and from_zero)

    def _reading_segments(self, op: Operator) -> Operator:
        """The operator, or what stands in for it, with segments as inputs where its own are cut."""
        output, source = int(op.outputs[0]), int(op.inputs[0])
        if output in self._edges and flat.op_name(self._model, op) == "ADD":
            return self._sum(op)
        if flat.op_name(self._model, op) == "CONCATENATION" and self._segments.keys() & {int(i) for i in op.inputs}:
            self._parts[output] = [(_channels(self._model, int(i)), self._edges.get(int(i))) for i in op.inputs]
            self._segments[output] = _lay_segments(self._model, op, self._segments)
            return op
        if source not in self._segments:
            return op
        if self._convolves(op):
            read_segments(self._model, op, self._segments[source], self._parts[source])
        elif self._bridges(op):
            return _together(self._model, output, self._segments[source], self._edges[source])
        elif self._resizes(op):  # one segment a channel is a linear function: it may as well be resized
            op.inputs[0] = self._segments[source]
            self._segments[output], self._edges[output] = output, self._edges[source]
            self._parts[output] = self._parts[source]
        return op

    def _resizes(self, op: Operator) -> bool:
        edges = self._edges.get(int(op.inputs[0]))
        return flat.op_name(self._model, op) == "RESIZE_BILINEAR" and edges is not None and len(edges) == ONE_SEGMENT

    def _sum(self, op: Operator) -> Operator:
        """An ADD as one convolution of its summands, or of what they are computed from, laid side by side."""
        summands = [int(i) for i in op.inputs]
        with_branch = any(self._is_branch(tensor) for tensor in summands)
        parts = [part for tensor in summands for part in self._summand(tensor, with_branch=with_branch)]
        self._operators.append(residuals.side_by_side(self._model, [source for source, _, _ in parts]))
        joined = int(self._operators[-1].outputs[0])
        result = flat.new_op(self._model, "CONV_2D", 1, [], [int(op.outputs[0])], options=flat.convolution_options())
        weights = np.concatenate([weights for _, weights, _ in parts], 3)
        set_constants(self._model, result, weights, np.sum([bias for _, _, bias in parts], axis=0), joined)
        return result

    def _is_branch(self, tensor: int) -> bool:
        """Whether it is a linear convolution's, and only the sum reads it."""
        writer = self._writers[tensor]
        linear = _pointwise(self._model, writer) and not writer.builtinOptions.fusedActivationFunction
        return linear and self._read.count(tensor) == 1 and tensor not in self._segments

    def _summand(self, tensor: int, *, with_branch: bool) -> list[Part]:
        """The tensors to read, each with the weights and the bias that make its share of the summand."""
        if tensor in self._segments:
            edges = self._edges[tensor]
            copies = COPIES[len(edges) - 1] if with_branch else 1
            weights = _identity(width(edges) / TOP / copies, len(edges) - 1)
            return [(self._segments[tensor], weights, edges[0].astype(np.float64) / copies)] * copies
        if self._is_branch(tensor):
            writer = self._writers[tensor]
            self._operators.remove(writer)
            return [(int(writer.inputs[0]), *constants(self._model, writer))]
        channels = _channels(self._model, tensor)
        return [(tensor, _identity(np.ones(channels), 1), np.zeros(channels))]


def _identity(scale: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """1x1 weights that add up `count` segments of each channel, scaled."""
    return np.concatenate([np.diag(scale)] * count, 1)[:, None, None]


def width(edges: Edges) -> NDArray[np.float64]:
    """Width of each channel's segments, [channels]."""
    result: NDArray[np.float64] = (edges[-1].astype(np.float64) - edges[0]) / (len(edges) - 1)
    return result


def _channels(model: Model, tensor: int) -> int:
    return int(model.subgraphs[0].tensors[tensor].shape[3])


def _pointwise(model: Model, op: Operator) -> bool:
    if flat.op_name(model, op) != "CONV_2D":
        return False
    weights = flat.constant(model, op.inputs[1])
    assert weights is not None
    return bool(weights.shape[1] == 1)


def _is_bridge(model: Model, op: Operator) -> bool:
    """A depthwise 1x1 identity."""
    if flat.op_name(model, op) != "DEPTHWISE_CONV_2D":
        return False
    weights, bias = constants(model, op)
    return weights.shape[1] == 1 and bool((weights == 1).all()) and not bias.any()


def constants(model: Model, op: Operator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A convolution's weights and bias."""
    weights, bias = flat.constant(model, op.inputs[1]), flat.constant(model, op.inputs[2])
    assert weights is not None
    assert bias is not None
    return weights.astype(np.float64), bias.astype(np.float64)


def set_constants(model: Model, op: Operator, weights: NDArray[Any], bias: NDArray[Any], source: int) -> None:
    """Make a convolution read this tensor with these weights and bias."""
    new = [flat.add_constant(model, value.astype(np.float32), "") for value in (weights, bias)]
    op.inputs = np.array([source, *new], np.int32)


def write_segments(model: Model, op: Operator, edges: Edges) -> int:
    """Make the convolution write the segments, one after the other for all channels; returns the new tensor."""
    weights, bias = constants(model, op)
    factor = TOP / width(edges)
    if flat.op_name(model, op) == "DEPTHWISE_CONV_2D":
        assert len(edges) == 2
        rows, axis = [weights * factor], 3
    else:
        rows, axis = [weights * factor[:, None, None, None]] * (len(edges) - 1), 0
    biases = [(bias - low) * factor for low in edges[:-1].astype(np.float64)]
    set_constants(model, op, np.concatenate(rows, axis), np.concatenate(biases), int(op.inputs[0]))
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


def read_segments(model: Model, op: Operator, segments: int, parts: Parts) -> None:
    """Make the convolution that read the tensor read its segments; `parts` are its channels and how each is cut."""
    weights, bias = constants(model, op)
    columns, first = [], 0
    for count, edges in parts:
        own = weights[..., first : first + count]
        first += count
        if edges is None:
            columns.append(own)
            continue
        for channel, low in enumerate(edges[0].astype(np.float64)):  # a plain sum in a fixed order
            bias = bias + own[:, 0, 0, channel] * low
        columns += [own * (width(edges) / TOP)] * (len(edges) - 1)
    set_constants(model, op, np.concatenate(columns, 3), bias, segments)


def _together(model: Model, output: int, segments: int, edges: Edges) -> Operator:
    """The convolution that writes the old tensor from its segments: depthwise where there is one a channel."""
    scale, count = width(edges) / TOP, len(edges) - 1
    depthwise = count == 1
    options = flat.depthwise_options() if depthwise else flat.convolution_options()
    weights = scale[None, None, None] if depthwise else _identity(scale, count)
    op = flat.new_op(model, "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", 1, [], [output], options=options)
    set_constants(model, op, weights, edges[0], segments)
    return op


def dense(model: Model, depthwise: Operator) -> Operator:
    """A depthwise convolution as an ordinary one, most of whose weights are 0."""
    weights = flat.constant(model, depthwise.inputs[1])
    assert weights is not None
    channels = weights.shape[3]
    full = np.zeros((channels, *weights.shape[1:3], channels), np.float32)
    every = np.arange(channels)
    full[every, :, :, every] = weights[0].transpose(2, 0, 1)
    old, options = depthwise.builtinOptions, flat.convolution_options()
    options.strideW, options.strideH = old.strideW, old.strideH
    options.padding, options.fusedActivationFunction = old.padding, old.fusedActivationFunction
    inputs = [int(depthwise.inputs[0]), flat.add_constant(model, full, ""), int(depthwise.inputs[2])]
    return flat.new_op(model, "CONV_2D", 1, inputs, [int(depthwise.outputs[0])], options=options)
