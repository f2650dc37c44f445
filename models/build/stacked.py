"""For `int8-full`: the residual sums of the tail as depthwise convolutions over their summands.

relu6(x + P d), over maps so small that the convolution P has most of the weights, is rounded anew in every block. Here
x is in several segments a channel (see `segments`), and so is P d. Laid one behind the other along a spatial axis they
are summed by depthwise convolutions of a few weights, one for each segment that is written. So segments of x cost next
to nothing, and x passes the sum as it is: widths are such (`aligned`) that the weights are whole numbers.
"""

from collections.abc import Iterable

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models.build import flat, segments
from models.build.flat import Model, Operator
from models.build.recipe import WEIGHT_MAX
from models.build.segments import RELU6, TOP, Edges

# The heads of these outputs read one segment a channel, which halves their weights.
ONE_SEGMENT_WILL_DO = {b"visibility", b"landmark_presence"}
SLOT_AXIS, CHANNEL_AXIS = 2, 3
Widths = NDArray[np.float64]  # of a segment of each channel
Slots = list[tuple[int, int, Widths]]  # tensors [1, cells, n, channels], n, and how wide the n segments are


def sums(model: Model, edges: dict[int, Edges]) -> dict[int, tuple[int, int]]:
    """The sums with ReLU6 that have edges, by their output: the summand x, and the branch that is a convolution's."""
    writers = {int(op.outputs[0]): op for op in model.subgraphs[0].operators}
    found = {}
    for output, op in writers.items():
        if output in edges and flat.op_name(model, op) == "ADD" and op.builtinOptions.fusedActivationFunction == RELU6:
            pair = sorted((int(i) for i in op.inputs), key=lambda i: flat.op_name(model, writers[i]) == "CONV_2D")
            found[output] = (pair[0], pair[1])
    return found


def aligned(x: Edges, branch: Edges, total: Edges) -> Edges:
    """The branch's edges, no further than changes the sum; all three are over the same channels, x and the sum from 0.

    Its segments become wider until they are n / 127 of x's in width, or x's of them.
    """
    count = len(branch) - 1
    low = np.maximum(branch[0].astype(np.float64), -x[-1].astype(np.float64))
    high = np.maximum(np.minimum(branch[-1], total[-1]).astype(np.float64), low + 1e-6)
    wanted, other = (high - low) / count, segments.width(x)
    narrower = other * np.ceil(wanted / other * WEIGHT_MAX) / WEIGHT_MAX
    wider = other * WEIGHT_MAX / np.maximum(np.floor(other / wanted * WEIGHT_MAX), 1)
    chosen = np.where(wanted <= other, narrower, wider)
    return np.asarray(low + np.arange(count + 1)[:, None] * chosen, np.float32)


def align(model: Model, edges: dict[int, Edges]) -> dict[int, Edges]:
    """The edges, those of the branches aligned."""
    writers = {int(op.outputs[0]): op for op in model.subgraphs[0].operators}
    return edges | {
        branch: aligned(edges[x if x in edges else int(writers[x].inputs[0])], edges[branch], edges[total])
        for total, (x, branch) in sums(model, edges).items()
    }


def rewrite(model: Model, edges: dict[int, Edges]) -> dict[int, Edges]:
    """Rewrite these sums (`sums`) and return the edges that are left; no tensor changes its index.

    A tensor that is pooled to become the first x has edges, too: of one segment. A depthwise convolution reads x as one
    segment a channel, and so do some heads; others read all of its segments.
    """
    found = sums(model, edges)
    if not found:
        return edges
    done = _Stacker(model, edges, found).run()
    return {tensor: own for tensor, own in edges.items() if tensor not in done}


class _Stacker:
    def __init__(self, model: Model, edges: dict[int, Edges], found: dict[int, tuple[int, int]]) -> None:
        self._model, self._edges, self._sums = model, edges, found
        self._old = list(model.subgraphs[0].operators)
        self._writers = {int(op.outputs[0]): op for op in self._old}
        self._branches = {branch for _, branch in found.values()}
        self._pooled = {x for x, _ in found.values()} - found.keys()
        self._first = {int(self._writers[x].inputs[0]) for x in self._pooled} - found.keys()
        self._operators: list[Operator] = []
        self._slots: dict[int, Slots] = {}  # of each x

    def run(self) -> set[int]:
        """Rewrite; returns the tensors whose edges this took."""
        for op in self._old:
            output, source = int(op.outputs[0]), int(op.inputs[0])
            if output in self._sums:
                self._sum(op)
            elif output in self._pooled:
                self._pool(op)
            elif output not in self._branches:
                self._operators.append(op)
                if source in self._sums:
                    self._read(op)
        for tensor in self._first:
            self._widen(tensor)
        self._model.subgraphs[0].operators = self._operators
        return {*self._sums, *self._branches, *self._first}

    def _shape(self, tensor: int) -> list[int]:
        return [int(n) for n in self._model.subgraphs[0].tensors[tensor].shape]

    def _sum(self, op: Operator) -> None:
        """The sum's segments, each by a depthwise convolution, and the sum as one segment if it has more."""
        total = int(op.outputs[0])
        x, branch = self._sums[total]
        slots = [*self._slots[x], self._branch(branch)]
        sources = [tensor for tensor, _, _ in slots]
        stack = sources[0] if len(sources) == 1 else self._join(sources, SLOT_AXIS)
        widths = np.concatenate([np.tile(width, (count, 1)) for _, count, width in slots])
        low = self._edges[branch][0].astype(np.float64)
        edges = self._edges[total].astype(np.float64)
        written = [self._segment(stack, widths, low - own, segments.width(self._edges[total])) for own in edges[:-1]]
        self._slots[total] = [(tensor, 1, segments.width(self._edges[total])) for tensor in written]
        if any(self._reads_whole(reader) for reader in self._old if total in reader.inputs):
            whole = self._segment(stack, widths, low, edges[-1]) if len(written) > 1 else written[0]
            self._reshape(whole, self._shape(total), total)

    def _reads_whole(self, op: Operator) -> bool:
        """Whether it reads one segment a channel."""
        tensors = self._model.subgraphs[0].tensors
        made = {tensors[reader.outputs[0]].name for reader in self._old if op.outputs[0] in reader.inputs}
        return flat.op_name(self._model, op) == "DEPTHWISE_CONV_2D" or bool(made & ONE_SEGMENT_WILL_DO)

    def _segment(self, stack: int, widths: Widths, offset: Widths, width: Widths) -> int:
        """relu6(sum + offset) over one segment of this width."""
        options = flat.depthwise_options()
        options.fusedActivationFunction = RELU6
        shape = self._shape(stack)
        output = flat.add_tensor(self._model, [1, shape[1], 1, shape[3]], "")
        op = flat.new_op(self._model, "DEPTHWISE_CONV_2D", 1, [], [output], options=options)
        segments.set_constants(self._model, op, (widths / width)[None, None], offset * TOP / width, stack)
        self._operators.append(op)
        return output

    def _branch(self, branch: int) -> tuple[int, int, Widths]:
        """The branch's convolution, which writes its segments, and they laid one behind the other."""
        op, edges = self._writers[branch], self._edges[branch]
        wide = segments.write_segments(self._model, op, edges)
        self._operators.append(op)
        return self._unfold(wide, len(edges) - 1), len(edges) - 1, segments.width(edges)

    def _unfold(self, tensor: int, count: int) -> int:
        """[1, h, w, n channels] as [1, h w, n, channels]."""
        _, height, width, channels = self._shape(tensor)
        return self._reshape(tensor, [1, height * width, count, channels // count])

    def _side_by_side(self, x: int) -> int:
        """All segments of x as one tensor [1, h, w, n channels]."""
        tensors = [tensor for tensor, _, _ in self._slots[x]]
        joined = tensors[0] if len(tensors) == 1 else self._join(tensors, CHANNEL_AXIS)
        return self._reshape(joined, [*self._shape(x)[:3], self._shape(joined)[3]])

    def _pool(self, op: Operator) -> None:
        """Pool all segments: the largest value has the largest of each."""
        source, output = int(op.inputs[0]), int(op.outputs[0])
        width, count = segments.width(self._edges[source]), len(self._edges[source]) - 1
        if source in self._sums:
            op.inputs[0] = self._side_by_side(source)
            shape = self._shape(output)
            op.outputs[0] = flat.add_tensor(self._model, [*shape[:3], count * shape[3]], "")
        self._operators.append(op)
        self._slots[output] = [(self._unfold(int(op.outputs[0]), count), count, width)]

    def _read(self, op: Operator) -> None:
        """Make a convolution read the sum's segments, or the one that a depthwise convolution reads."""
        source = int(op.inputs[0])
        edges = self._edges[source]
        if self._reads_whole(op):
            self._scale(op, edges[-1].astype(np.float64) / TOP)
            return
        self._operators.pop()
        wide = self._side_by_side(source)
        self._operators.append(op)
        segments.read_segments(self._model, op, wide, [(len(edges[0]), edges)])

    def _widen(self, tensor: int) -> None:
        """Make the only segment of a channel as wide as 6, in place."""
        top = self._edges[tensor][-1].astype(np.float64)
        op = self._writers[tensor]
        weights, bias = segments.constants(self._model, op)
        segments.set_constants(
            self._model, op, weights * (TOP / top)[:, None, None, None], bias * TOP / top, int(op.inputs[0])
        )
        for reader in self._old:
            if tensor == reader.inputs[0] and self._reads_whole(reader):
                self._scale(reader, top / TOP)

    def _scale(self, op: Operator, factor: Widths) -> None:
        """Make a convolution read channels that have been divided by this factor."""
        weights, bias = segments.constants(self._model, op)
        segments.set_constants(self._model, op, weights * factor, bias, int(op.inputs[0]))

    def _join(self, tensors: Iterable[int], axis: int) -> int:
        shapes = [self._shape(tensor) for tensor in tensors]
        shape = list(shapes[0])
        shape[axis] = sum(own[axis] for own in shapes)
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        output = flat.add_tensor(self._model, shape, "")
        self._operators.append(flat.new_op(self._model, "CONCATENATION", 1, list(tensors), [output], options=options))
        return output

    def _reshape(self, tensor: int, shape: list[int], output: int | None = None) -> int:
        output = flat.add_tensor(self._model, shape, "") if output is None else output
        size = flat.add_constant(self._model, np.array(shape, np.int32), "")
        self._operators.append(flat.new_op(self._model, "RESHAPE", 1, [tensor, size], [output]))
        return output
