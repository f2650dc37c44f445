"""For `int8-full`: a residual sum is one convolution, so that its branch is never rounded.

relu6(x + P d), with the convolution P, is the convolution (P | 1) of d and x laid side by side. As an ADD it is rounded
three times in int8 (branch, sum, and the branch needs twice the sum's range), as a convolution once.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from models.build import flat
from models.build.flat import Model, Operator

RELU6 = schema.ActivationFunctionType.RELU6
# How many times over the convolution reads x, each time that much smaller: in a row of weights of one scale, a single 1
# would leave few steps for those of P. Of sums with ReLU6, from the front, as far as so many bytes of weights go,
# for the Edge TPU's memory is small.
COPIES, MOST_BYTES = 2, 600_000
Sums = dict[int, tuple[int, int, int]]  # ADD's output -> the convolution's input d, its output, and the other summand x


def find(model: Model, activation: int = RELU6, least_side: int = 1) -> Sums:
    """The sums with this activation, on such maps, one side of which is a linear convolution that nobody else reads."""
    operators = model.subgraphs[0].operators
    writers = {int(op.outputs[0]): op for op in operators}
    read = [int(i) for op in operators for i in op.inputs]
    found: Sums = {}
    for op in operators:
        if flat.op_name(model, op) != "ADD" or op.builtinOptions.fusedActivationFunction != activation:
            continue
        if model.subgraphs[0].tensors[op.outputs[0]].shape[1] < least_side:
            continue
        pair = [int(i) for i in op.inputs]
        for branch, other in (pair, pair[::-1]):
            writer = writers[branch]
            linear = flat.op_name(model, writer) == "CONV_2D" and writer.builtinOptions.fusedActivationFunction == 0
            if linear and read.count(branch) == 1:
                found[int(op.outputs[0])] = (int(writer.inputs[0]), branch, other)
                break
    return found


def merge(model: Model, sums: Sums, most_bytes: int = 0) -> dict[int, int]:
    """Rewrite these sums; returns the tensor that lays d and x side by side for each. No tensor changes its index."""
    graph = model.subgraphs[0]
    convolutions = {int(op.outputs[0]): op for op in graph.operators}
    branches = {branch for _, branch, _ in sums.values()}
    sides: dict[int, int] = {}
    operators = []
    room = most_bytes
    for op in graph.operators:
        output = int(op.outputs[0])
        if output in sums:
            source, branch, other = sums[output]
            more_bytes = int(model.subgraphs[0].tensors[output].shape[3]) ** 2
            copies = COPIES if more_bytes <= room else 1
            room -= more_bytes
            operators.append(side_by_side(model, [source, *[other] * copies]))
            sides[output] = int(operators[-1].outputs[0])
            operators.append(_sum_of(model, convolutions[branch], sides[output], op, copies))
        elif output not in branches:
            operators.append(op)
    graph.operators = operators
    return sides


def side_by_side(model: Model, sources: list[int]) -> Operator:
    """A CONCATENATION of these tensors' channels."""
    shapes = [[int(n) for n in model.subgraphs[0].tensors[i].shape] for i in sources]
    output = flat.add_tensor(model, [*shapes[0][:3], sum(shape[3] for shape in shapes)], "")
    options = schema.ConcatenationOptionsT()
    options.axis = 3
    return flat.new_op(model, "CONCATENATION", 1, sources, [output], options=options)


def _sum_of(model: Model, convolution: Operator, source: int, total: Operator, copies: int) -> Operator:
    """Make the branch's convolution write the sum."""
    weights = flat.constant(model, convolution.inputs[1])
    assert weights is not None
    share = np.eye(len(weights), dtype=np.float32)[:, None, None] / np.float32(copies)
    both = np.concatenate([weights, *[share] * copies], 3)
    convolution.inputs = np.array([source, flat.add_constant(model, both, ""), convolution.inputs[2]], np.int32)
    convolution.outputs = total.outputs
    convolution.builtinOptions.fusedActivationFunction = total.builtinOptions.fusedActivationFunction
    return convolution
