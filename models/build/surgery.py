"""Rewrite float graphs into an equal form that quantizes well and that the Edge TPU has every op of.

The rewrites are exact in real arithmetic and elementwise in double precision, so they give the same bytes everywhere.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models.build import detector_full, detector_heads, flat, fold, person_head
from models.build.flat import Model, Operator

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID

# What the landmark head's 195 channels are: 39 landmarks of five values with three different units. Each kind becomes
# an output of its own, so that each gets a scale of its own.
LANDMARK_PARTS: dict[str, tuple[int, ...]] = {
    "landmarks_xy": (0, 1),
    "landmarks_z": (2,),
    "visibility": (3,),
    "landmark_presence": (4,),
}
VALUES_PER_LANDMARK = 5


def prepare(float16: bytes, role: str, precision: str) -> Model:
    """The float32 graph that quantization starts from: our float16 .tflite unpacked and rewritten as below."""
    model = fold.to_float32(float16)
    if role == "detector":
        detector_heads.prepare(model)
    else:
        person_head.strip(model)
        split_landmark_head(model)
    add_bridges(model)
    if role == "detector" and precision == "int8-full":
        detector_full.prepare(model)
    return model


def split_landmark_head(model: Model) -> None:
    """Replace the 195-channel output `landmarks` by one output a unit: the head convolution's rows, dealt out."""
    graph = model.subgraphs[0]
    index = next(int(i) for i in graph.outputs if graph.tensors[i].name == b"landmarks")
    reshape = next(op for op in graph.operators if index in op.outputs)
    head = next(op for op in graph.operators if reshape.inputs[0] in op.outputs)
    weights, bias = flat.constant(model, head.inputs[1]), flat.constant(model, head.inputs[2])
    assert weights is not None
    assert bias is not None
    made, outputs = [], {}
    for name, values in LANDMARK_PARTS.items():
        rows = [k for k in range(len(bias)) if k % VALUES_PER_LANDMARK in values]
        made.append(_convolution_like(model, head, weights[rows], bias[rows], name))
        flatten = flat.new_op(
            model,
            "RESHAPE",
            1,
            [int(made[-1].outputs[0]), flat.add_constant(model, np.array([1, len(rows)], np.int32), "")],
            [flat.add_tensor(model, [1, len(rows)], name)],
        )
        made.append(flatten)
        outputs[int(flatten.outputs[0])] = name
    place = next(i for i, op in enumerate(graph.operators) if op is head)
    graph.operators = [op for op in graph.operators if op is not head and op is not reshape]
    graph.operators[place:place] = made
    outputs |= {int(i): graph.tensors[i].name.decode() for i in graph.outputs if i != index}
    graph.outputs = np.array(list(outputs), np.int32)
    flat.prune(model)


def add_bridges(model: Model) -> int:
    """Put a depthwise 1x1 identity before each padded convolution that reads a linear tensor; returns how many.

    A linear tensor's channels can be centred on 0 by moving their offsets into biases (`equalize.shift`), which is what
    lets int8 resolve them; but not where a convolution pads it with zeros, for those would no longer be zeros. The
    bridge takes the offset up, so that only what comes through it is padded.
    """
    graph = model.subgraphs[0]
    producer = {int(i): op for op in graph.operators for i in op.outputs}
    bridges: dict[int, int] = {}
    operators: list[Operator] = []
    for op in graph.operators:
        source = int(op.inputs[0])
        if _pads(model, op) and source in producer and _is_linear(model, producer[source]):
            if source not in bridges:
                operators.append(_identity(model, source))
                bridges[source] = int(operators[-1].outputs[0])
            op.inputs[0] = bridges[source]
        operators.append(op)
    graph.operators = operators
    return len(bridges)


def _pads(model: Model, op: Operator) -> bool:
    if flat.op_name(model, op) not in {"CONV_2D", "DEPTHWISE_CONV_2D"}:
        return False
    weights = flat.constant(model, op.inputs[1])
    assert weights is not None
    return bool(op.builtinOptions.padding == SAME) and weights.shape[1] > 1


def _is_linear(model: Model, op: Operator) -> bool:
    return flat.op_name(model, op) in {"CONV_2D", "ADD"} and op.builtinOptions.fusedActivationFunction == 0


def _identity(model: Model, source: int) -> Operator:
    shape = [int(n) for n in model.subgraphs[0].tensors[source].shape]
    options = flat.depthwise_options()
    weights = flat.add_constant(model, np.ones((1, 1, 1, shape[3]), np.float32), "")
    bias = flat.add_constant(model, np.zeros(shape[3], np.float32), "")
    output = flat.add_tensor(model, shape, "")
    return flat.new_op(model, "DEPTHWISE_CONV_2D", 1, [source, weights, bias], [output], options=options)


def _convolution_like(model: Model, op: Operator, weights: NDArray[Any], bias: NDArray[Any], name: str) -> Operator:
    """A copy of a stride-1 convolution with other weights, reading the same tensor, writing a new one."""
    old = op.builtinOptions
    options = flat.convolution_options()
    options.padding = old.padding
    options.fusedActivationFunction = old.fusedActivationFunction
    shape = [*(int(n) for n in model.subgraphs[0].tensors[op.outputs[0]].shape[:3]), len(bias)]
    output = flat.add_tensor(model, shape, f"{name}_head")
    weight_index = flat.add_constant(model, weights.astype(np.float32), "")
    bias_index = flat.add_constant(model, bias.astype(np.float32), "")
    return flat.new_op(model, "CONV_2D", 1, [int(op.inputs[0]), weight_index, bias_index], [output], options=options)
