"""A folded float graph as torch ops, NCHW: forward passes with hooks, for calibration and for measuring each step."""

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- its name everywhere
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor

from models.build import flat
from models.build.flat import Model

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
# TFLite wants the same scale before and after these.
SAME_SCALE = ("PAD", "MAX_POOL_2D", "RESHAPE", "RESIZE_BILINEAR", "CONCATENATION")
NO_ACTIVATION, RELU, RELU6 = 0, 1, 3

CHANNEL_AXIS = 3
NCHW_AXES = (0, 2, 3, 1)  # where the axes of the file's layout are in torch's

Params = tuple[Tensor, Tensor]  # weights [out, in per group, height, width], bias [out]


@dataclass
class Op:
    """One operator: tensors by their index in the flat model, constants left out."""

    index: int
    name: str
    inputs: list[int]
    output: int
    activation: int = NO_ACTIVATION
    stride: int = 1
    same: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def depthwise(self) -> bool:
        """Whether it is a depthwise convolution."""
        return self.name == "DEPTHWISE_CONV_2D"

    @property
    def side_by_side(self) -> bool:
        """Whether it lays the channels of tensors side by side."""
        return self.name == "CONCATENATION" and bool(self.attributes["axis"] == CHANNEL_AXIS)


class Net:
    """The graph of a float32 model; `params` may be rewritten by steps that keep the function."""

    def __init__(self, model: Model) -> None:
        self.model = model
        graph = model.subgraphs[0]
        self.shapes = {i: [int(n) for n in t.shape] for i, t in enumerate(graph.tensors)}
        self.names = {int(i): graph.tensors[i].name.decode() for i in graph.outputs}
        self.input = int(graph.inputs[0])
        self.outputs = [int(i) for i in graph.outputs]
        self.ops: list[Op] = []
        self.params: dict[int, Params] = {}
        for index, operator in enumerate(graph.operators):
            self._read(index, operator)
        self.producer = {op.output: op for op in self.ops}
        self.consumers: dict[int, list[Op]] = {}
        for op in self.ops:
            for tensor in op.inputs:
                self.consumers.setdefault(tensor, []).append(op)

    def _read(self, index: int, operator: flat.Operator) -> None:
        model, options = self.model, operator.builtinOptions
        name = flat.op_name(model, operator)
        inputs = [int(i) for i in operator.inputs if i >= 0 and flat.constant(model, i) is None]
        op = Op(index, name, inputs, int(operator.outputs[0]), getattr(options, "fusedActivationFunction", 0))
        op.stride = getattr(options, "strideH", 1)
        op.same = getattr(options, "padding", None) == schema.Padding.SAME
        if name in CONVOLUTIONS:
            assert options.dilationHFactor == 1
            weights = flat.constant(model, operator.inputs[1])
            bias = flat.constant(model, operator.inputs[2])
            assert weights is not None
            order = (3, 0, 1, 2) if op.depthwise else (0, 3, 1, 2)
            self.params[index] = (
                torch.tensor(np.ascontiguousarray(weights.transpose(order))),
                torch.tensor(bias),
            )
        elif name == "PAD":
            op.attributes["pads"] = flat.constant(model, operator.inputs[1])
        elif name == "MAX_POOL_2D":
            op.attributes["size"] = options.filterHeight
        elif name == "RESIZE_BILINEAR":
            op.attributes["size"] = flat.constant(model, operator.inputs[1])
            assert options.halfPixelCenters
        elif name == "CONCATENATION":
            op.attributes["axis"] = options.axis
        self.ops.append(op)

    def writer_index(self, tensor: int) -> int:
        """The index of the op that writes a tensor; -1 for the input."""
        return -1 if tensor == self.input else self.producer[tensor].index

    def run_op(self, op: Op, tensors: dict[int, Tensor], params: Params | None = None) -> Tensor:
        """One op on its inputs, before its fused activation; `params` replace its own weights and bias."""
        x = tensors[op.inputs[0]]
        if op.name in CONVOLUTIONS:
            weights, bias = params or self.params[op.index]
            x = pad_same(x, weights.shape[2], op.stride) if op.same else x
            return F.conv2d(x, weights, bias, stride=op.stride, groups=len(weights) if op.depthwise else 1)
        return _WITHOUT_WEIGHTS[op.name](op, [tensors[i] for i in op.inputs], self.shapes[op.output])

    def forward(
        self,
        images: Tensor,
        hook: Callable[[int, Tensor], Tensor] | None = None,
        params: dict[int, Params] | None = None,
    ) -> dict[str, Tensor]:
        """Outputs by name for images [n, 3, side, side]; `hook(tensor, value)` may replace every tensor's value."""
        hook = hook or (lambda _, value: value)
        params = params or self.params
        tensors = {self.input: hook(self.input, images)}
        left = {tensor: len(ops) for tensor, ops in self.consumers.items()}
        for op in self.ops:
            value = activate(op, self.run_op(op, tensors, params.get(op.index)))
            tensors[op.output] = hook(op.output, value)
            release(op, tensors, left, keep=self.outputs)
        return {self.names[i]: tensors[i] for i in self.outputs}


def _pad(op: Op, inputs: list[Tensor], _: list[int]) -> Tensor:
    (_, (top, bottom), (left, right), (_, channels)) = op.attributes["pads"].tolist()
    return F.pad(inputs[0], (left, right, top, bottom, 0, channels))


def _max_pool(op: Op, inputs: list[Tensor], _: list[int]) -> Tensor:
    size = op.attributes["size"]
    x = pad_same(inputs[0], size, op.stride, float("-inf")) if op.same else inputs[0]
    return F.max_pool2d(x, size, op.stride)


def _resize(op: Op, inputs: list[Tensor], _: list[int]) -> Tensor:
    return F.interpolate(inputs[0], size=op.attributes["size"].tolist(), mode="bilinear", align_corners=False)


def _reshape(_: Op, inputs: list[Tensor], shape: list[int]) -> Tensor:
    x = inputs[0].permute(0, 2, 3, 1) if inputs[0].ndim == 4 else inputs[0]
    x = x.reshape([len(x), *shape[1:]])
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def _concatenate(op: Op, inputs: list[Tensor], _: list[int]) -> Tensor:
    axis = op.attributes["axis"]
    return torch.cat(inputs, NCHW_AXES[axis] if inputs[0].ndim == 4 else axis)


_WITHOUT_WEIGHTS: dict[str, Callable[[Op, list[Tensor], list[int]], Tensor]] = {
    "ADD": lambda _, inputs, __: inputs[0] + inputs[1],
    "PAD": _pad,
    "MAX_POOL_2D": _max_pool,
    "RESIZE_BILINEAR": _resize,
    "RESHAPE": _reshape,
    "CONCATENATION": _concatenate,
    "LOGISTIC": lambda _, inputs, __: torch.sigmoid(inputs[0]),
}


def release(op: Op, tensors: dict[int, Tensor], left: dict[int, int], keep: list[int]) -> None:
    """Forget the op's inputs that no later op reads; `left` counts the readers to come."""
    for tensor in op.inputs:
        left[tensor] -= 1
        if left[tensor] == 0 and tensor not in keep:
            tensors.pop(tensor, None)


def joined(net: Net, names: Container[str]) -> dict[int, int]:
    """Each tensor's group, named by one of its tensors: inputs and output of an op of these names are of one group."""
    parent: dict[int, int] = {}

    def find(tensor: int) -> int:
        while parent.setdefault(tensor, tensor) != tensor:
            tensor = parent[tensor]
        return tensor

    for op in net.ops:
        if op.name in names:
            for tensor in op.inputs:
                parent[find(tensor)] = find(op.output)
    return {tensor: find(tensor) for tensor in [net.input, *(op.output for op in net.ops)]}


def readers(net: Net, tensor: int) -> list[tuple[Op, slice]]:
    """What reads a tensor, and which of its input channels that is; a CONCATENATION of channels is looked through."""
    found = []
    for op in {op.index: op for op in net.consumers[tensor]}.values():
        if op.side_by_side:
            ends = np.cumsum([net.shapes[i][CHANNEL_AXIS] for i in op.inputs]).tolist()
            places = [slice(end - net.shapes[i][CHANNEL_AXIS], end) for i, end in zip(op.inputs, ends, strict=True)]
            mine = [place for i, place in zip(op.inputs, places, strict=True) if i == tensor]
            found += [(reader, place) for reader in net.consumers[op.output] for place in mine]
        else:
            found.append((op, slice(None)))
    return found


def activate(op: Op, value: Tensor) -> Tensor:
    """The op's fused activation."""
    if op.activation == RELU6:
        return torch.clamp(value, 0, 6)
    return F.relu(value) if op.activation == RELU else value


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """TFLite's SAME padding: the odd pixel goes to the bottom and right."""
    size = x.shape[2]
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    low, high = total // 2, total - total // 2
    return F.pad(x, (low, high, low, high), value=value) if total else x


def to_nchw(images: Any) -> Tensor:  # noqa: ANN401 -- any NHWC array
    """Numpy NHWC float32 to torch NCHW, laid out channels-last in memory (fast on a CPU)."""
    return torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
