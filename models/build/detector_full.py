"""The detector for `int8-full`: rewrites after which its most sensitive tensors can be cut into segments.

Of the error of its scores, half came from the stem's activations and most of the rest from linear tensors. Nothing
here can stay float, so they get more steps: `plan.segment_counts` says how many. Exact in real arithmetic.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from models.build import flat, residuals
from models.build.flat import Model, Operator

# The trunk's maps of this side and larger are rewritten. On smaller ones the sum's 1 is much larger than the branch's
# weights, whose rounding then costs more (.08 in a logit) than the sum's own (.05).
LEAST_SIDE = 28


def prepare(model: Model) -> None:
    """All rewrites, in place."""
    _widen_stem(model)
    residuals.merge(model, residuals.find(model, schema.ActivationFunctionType.NONE, LEAST_SIDE))
    flat.prune(model)


def _widen_stem(model: Model) -> None:
    """Make the depthwise convolution behind the first convolution a dense one, which can read and write segments."""
    operators = model.subgraphs[0].operators
    first = next(op for op in operators if flat.op_name(model, op) == "CONV_2D")
    index = next(k for k, op in enumerate(operators) if op.inputs[0] == first.outputs[0])
    operators[index] = dense(model, operators[index])


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
