"""The detector for `int8-full`: rewrites after which its most sensitive tensors can be cut into segments.

Of the error of its scores, half came from the stem's activations and most of the rest from linear tensors. Nothing
here can stay float, so they get more steps: `plan.segment_counts` says how many. Exact in real arithmetic.
"""

from ai_edge_litert import schema_py_generated as schema

from models.build import flat, residuals, segments
from models.build.flat import Model

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
    operators[index] = segments.dense(model, operators[index])
