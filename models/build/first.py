"""The first convolution of an int8 landmark model, written so that XNNPACK runs it faster; the same integers come out.

It reads three channels, and int8 kernels read a multiple of eight (on x86; of four on Arm): 9 taps of 8. Two pixels
of a row side by side are one of six channels, which is a matter of shape, not of memory: 6 taps of 8.
"""

from copy import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models.build import flat
from models.build.flat import Model

VALID = schema.Padding.VALID


def pair_pixels(model: Model) -> bool:
    """Rewrite PAD by 1 and int8 3x3 convolution of stride 2 at the graph's input; whether they were there."""
    graph = model.subgraphs[0]
    pad, convolution = graph.operators[:2]
    if [flat.op_name(model, op) for op in (pad, convolution)] != ["PAD", "CONV_2D"]:
        return False
    weights, options = flat.constant(model, convolution.inputs[1]), convolution.builtinOptions
    if (
        weights is None
        or weights.dtype != np.int8
        or weights.shape[1:3] != (3, 3)
        or options.strideW != 2
        or options.padding != VALID
    ):
        return False
    image = int(pad.inputs[0])
    _, height, width, channels = (int(n) for n in graph.tensors[image].shape)
    pairs = _like(model, image, [1, height, width // 2, channels * 2])
    padded = _like(model, image, [1, height + 2, width // 2 + 1, channels * 2])
    shape = flat.add_constant(model, np.array(graph.tensors[pairs].shape, np.int32), "")
    sides = np.array([[0, 0], [1, 1], [1, 0], [0, 0]], np.int32)
    pad.inputs = np.array([pairs, flat.add_constant(model, sides, "")], np.int32)
    pad.outputs = np.array([padded], np.int32)
    paired = flat.add_constant(model, over_pairs(weights), "")
    graph.tensors[paired].quantization = copy(graph.tensors[convolution.inputs[1]].quantization)
    convolution.inputs = np.array([padded, paired, convolution.inputs[2]], np.int32)
    options.strideW = 1
    graph.operators.insert(0, flat.new_op(model, "RESHAPE", 1, [image, shape], [pairs]))
    return True


def over_pairs(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """[out, 3, 3, channels] over pixels as [out, 3, 2, 2 channels] over pairs: a tap more, of zeros, on the left."""
    outputs, rows, _, channels = weights.shape
    wider = np.pad(weights, ((0, 0), (0, 0), (1, 0), (0, 0)))
    return wider.reshape(outputs, rows, 2, 2 * channels)


def _like(model: Model, tensor: int, shape: list[int]) -> int:
    """A tensor of another shape on the same grid."""
    made = flat.add_tensor(model, shape, "", np.int8)
    model.subgraphs[0].tensors[made].quantization = model.subgraphs[0].tensors[tensor].quantization
    return made
