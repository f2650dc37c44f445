"""What the Edge TPU can run: Coral's published rules, applied to one operator at a time.

The rules are those of "TensorFlow models on the Edge TPU", section "Supported operations", at
coral.ai/docs/edgetpu/models-intro, in the state for runtime 14 and compiler 16. The compiler knows more than it
publishes: what follows the rules may still be left to the CPU, mostly because of sizes. Where users' published compiler
logs show such a limit, a rule says so and the verdict is `unsure`.
"""

from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

import numpy as np

from edge.edgetpu_graph import OpInfo, TensorInfo

Verdict = Literal["maps", "unsure", "cpu"]


class Remark(NamedTuple):
    """Something that speaks against an operator: for certain (`cpu`), or perhaps (`unsure`)."""

    verdict: Verdict
    reason: str


Rule = Callable[[OpInfo], Iterator[Remark]]

ACTIVATION_TYPES: Final = ("INT8", "UINT8")
# A softmax of more elements is not mapped.
SOFTMAX_ELEMENTS: Final = 16_000
# RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR: 128 x 128 was mapped and 512 x 512 was not (google-coral/edgetpu,
# issues 31 and 187); in between nothing certain is known.
RESIZE_SIDE_PX: Final = 128
# tf.image.resize of TensorFlow 2 writes version 3 (half-pixel centres): compilers before 16 refuse it
# (google-coral/edgetpu, issues 206, 396 and 420).
RESIZE_VERSION: Final = 2
# Later ones, as of a layer that keeps its dimensions, end as "Operation version not supported" in published logs.
FULLY_CONNECTED_VERSION: Final = 4
# Channels that a mean over the channel axis needs to be a multiple of.
MEAN_CHANNELS: Final = 4

# Operators whose inputs after the first are weights and a bias.
PARAMETERS: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
# Why some operators are there that only the CPU has.
WHY: Final = {
    "DENSIFY": " (it unpacks weights that are stored as sparse ones)",
    "DEQUANTIZE": " (it makes floating point numbers)",
}


def _cpu(reason: str) -> Remark:
    return Remark("cpu", reason)


def judge(op: OpInfo) -> list[Remark]:
    """What speaks against this operator running on the Edge TPU; nothing, if it should."""
    if op.name not in RULES:
        return [_cpu(f"not among the operators that the Edge TPU has{WHY.get(op.name, '')}")]
    kinds = sorted({tensor.dtype for tensor in _data(op) if tensor.dtype not in ACTIVATION_TYPES})
    if kinds:  # everything else that could be said follows from it
        return [_cpu(f"it works on {' and '.join(kinds)}; INT8 or UINT8 is expected")]
    return [*_tensors(op), *RULES[op.name](op)]


def _data(op: OpInfo) -> list[TensorInfo]:
    """What flows through it: its computed tensors, without weights and biases."""
    inputs = op.inputs[:1] if op.name in PARAMETERS else op.inputs
    return [tensor for tensor in (*inputs, *op.outputs) if not tensor.constant]


def _tensors(op: OpInfo) -> Iterator[Remark]:
    """What holds for every operator: fixed shapes, one scale a tensor, at most three dimensions."""
    for tensor in _data(op):
        if -1 in tensor.signature:
            yield _cpu(f"{_named(tensor)} has a shape that is only known at run time: {list(tensor.signature)}")
        if len(tensor.scales) != 1:
            yield _cpu(f"{_named(tensor)} has {len(tensor.scales)} quantization scales; a computed tensor needs one")
        if any(size > 1 for size in tensor.shape[:-3]):
            yield _cpu(f"{_named(tensor)} has the shape {list(tensor.shape)}; only the inner three may exceed 1")


def _named(tensor: TensorInfo) -> str:
    return f"tensor {tensor.name!r}"


def _anything(_: OpInfo) -> Iterator[Remark]:
    yield from ()


def _constant_parameters(op: OpInfo) -> Iterator[Remark]:
    for tensor in op.inputs[1:]:
        if not tensor.constant:
            yield _cpu(f"{_named(tensor)}, a weight or bias, is computed; parameters must be constants")


def _weights(op: OpInfo, channel_axis: int | None) -> Iterator[Remark]:
    yield from _constant_parameters(op)
    weights = op.inputs[1]
    if weights.dtype not in ACTIVATION_TYPES:
        yield _cpu(f"its weights are {weights.dtype}; INT8 or UINT8 are expected")
    if len(weights.scales) > 1 and (channel_axis is None or weights.channel_axis != channel_axis):
        yield _cpu(f"its weights have a scale for each element of axis {weights.channel_axis}")
    if len(weights.scales) > 1 and any(weights.zero_points):
        yield _cpu("its weights have a scale a channel and zero points other than 0")
    if len(op.inputs) > 2 and op.inputs[2].dtype != "INT32":
        yield _cpu(f"its bias is {op.inputs[2].dtype}; INT32 is expected")


def _same_dilation(op: OpInfo) -> Iterator[Remark]:
    if op.options.get("dilationHFactor", 1) != op.options.get("dilationWFactor", 1):
        yield _cpu("its dilation differs between x and y")


def _convolution(op: OpInfo) -> Iterator[Remark]:
    yield from _weights(op, channel_axis=0)
    yield from _same_dilation(op)
    if op.inputs[0].shape[-1:] != op.inputs[1].shape[-1:]:
        yield Remark("unsure", "a grouped convolution, of which nothing is published")


def _depthwise(op: OpInfo) -> Iterator[Remark]:
    yield from _weights(op, channel_axis=3)
    yield from _same_dilation(op)


def _transposed(op: OpInfo) -> Iterator[Remark]:
    if not (op.inputs[0].constant and op.inputs[1].constant):
        yield _cpu("its shape or weights are computed; parameters must be constants")


def _fully_connected(op: OpInfo) -> Iterator[Remark]:
    yield from _weights(op, channel_axis=None)
    if op.options.get("weightsFormat", 0):
        yield _cpu("its weights are not in the default format")
    if sum(size > 1 for size in op.outputs[0].shape) > 1:
        yield _cpu(f"its output {list(op.outputs[0].shape)} is not one-dimensional")
    if op.version > FULLY_CONNECTED_VERSION:
        yield _cpu(f"version {op.version} of the operator; the compiler knows up to {FULLY_CONNECTED_VERSION}")


def _no_activation(op: OpInfo) -> Iterator[Remark]:
    if op.options.get("fusedActivationFunction", 0):
        yield _cpu("it has a fused activation function")


def _concatenation(op: OpInfo) -> Iterator[Remark]:
    yield from _no_activation(op)
    constants = [tensor for tensor in op.inputs if tensor.constant]
    if constants and len(op.inputs) != 2:
        yield _cpu("one of its more than two inputs is a constant")
    for tensor in constants:
        zero = tensor.zero_points[0] if tensor.zero_points else 0
        if tensor.value is None or np.any(tensor.value != zero):
            yield _cpu("it joins a constant that is not all zeros")


def _reduction(op: OpInfo) -> Iterator[Remark]:
    axes = op.inputs[1].value
    rank = len(op.inputs[0].shape)
    if axes is None:
        yield _cpu("its axes are computed")
    elif rank == 4 and 0 in axes.ravel() % rank:
        yield _cpu("it reduces the batch")


def _mean(op: OpInfo) -> Iterator[Remark]:
    yield from _reduction(op)
    axes, shape = op.inputs[1].value, op.inputs[0].shape
    over_channels = axes is not None and len(shape) - 1 in axes.ravel() % len(shape)
    if over_channels and shape[-1] % MEAN_CHANNELS:
        yield _cpu(f"a mean over {shape[-1]} channels, which is not a multiple of {MEAN_CHANNELS}")


def _pad(op: OpInfo) -> Iterator[Remark]:
    amounts = op.inputs[1].value
    if amounts is None:
        yield _cpu("its amounts are computed")
    elif len(amounts) == 4 and np.any(amounts[0]):
        yield _cpu("it pads the batch")


def _resize(op: OpInfo) -> Iterator[Remark]:
    if not op.inputs[1].constant:
        yield _cpu("its size is computed")
    if max(op.outputs[0].shape[1:3], default=0) > RESIZE_SIDE_PX:
        yield Remark(
            "unsure",
            f"its output {list(op.outputs[0].shape)} exceeds {RESIZE_SIDE_PX} x {RESIZE_SIDE_PX}: the compiler leaves "
            "large ones to the CPU where it would lose precision",
        )
    if op.options.get("alignCorners") and op.options.get("halfPixelCenters"):
        yield _cpu("it asks for aligned corners and half-pixel centres at once")
    elif op.version > RESIZE_VERSION:
        yield Remark("maps", "half-pixel centres (version 3) need compiler 16; earlier ones leave it to the CPU")


def _softmax(op: OpInfo) -> Iterator[Remark]:
    shape = op.inputs[0].shape
    if sum(size > 1 for size in shape) > 1:
        yield _cpu(f"its input {list(shape)} is not one-dimensional")
    if np.prod(shape, dtype=np.int64) > SOFTMAX_ELEMENTS:
        yield _cpu(f"more than {SOFTMAX_ELEMENTS} elements")


def _strided_slice(op: OpInfo) -> Iterator[Remark]:
    strides = op.inputs[3].value if len(op.inputs) > 3 else None
    if strides is None or np.any(strides != 1):
        yield _cpu("its strides are not all 1")
    if op.options.get("ellipsisMask", 0) or op.options.get("newAxisMask", 0):
        yield _cpu("it uses an ellipsis or makes a new axis")


def _not_batch(option: str) -> Rule:
    def rule(op: OpInfo) -> Iterator[Remark]:
        if op.options.get(option) == 0 and len(op.outputs[0].shape) == 4:
            yield _cpu("it works along the batch")

    return rule


def _split(op: OpInfo) -> Iterator[Remark]:
    axis = op.inputs[0].value
    if axis is None or (len(op.outputs[0].shape) == 4 and int(axis.ravel()[0]) % 4 == 0):
        yield _cpu("it splits the batch")


def _prelu(op: OpInfo) -> Iterator[Remark]:
    if any(size > 1 for size in op.inputs[1].shape[:-1]):
        yield _cpu(f"its slopes {list(op.inputs[1].shape)} differ within a channel")


RULES: Final[dict[str, Rule]] = {
    "ADD": _anything,
    "AVERAGE_POOL_2D": _no_activation,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "EXPAND_DIMS": _anything,
    "FULLY_CONNECTED": _fully_connected,
    "L2_NORMALIZATION": _anything,
    "LOGISTIC": _anything,
    "MAXIMUM": _anything,
    "MAX_POOL_2D": _no_activation,
    "MEAN": _mean,
    "MINIMUM": _anything,
    "MUL": _anything,
    "PACK": _not_batch("axis"),
    "PAD": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _anything,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "RELU": _anything,
    "RELU6": _anything,
    "RELU_N1_TO_1": _anything,
    "RESHAPE": _anything,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "RSQRT": _anything,
    "SLICE": _anything,
    "SOFTMAX": _softmax,
    "SPACE_TO_DEPTH": _anything,
    "SPLIT": _split,
    "SQUARED_DIFFERENCE": _anything,
    "SQUEEZE": _anything,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _anything,
    "SUM": _reduction,
    "TANH": _anything,
    "TRANSPOSE": _anything,
    "TRANSPOSE_CONV": _transposed,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _anything,
}
