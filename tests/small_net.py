"""A net small enough to see through, for the quantizer's steps."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from models.build import flat


def small_model():
    """PAD-free bottleneck: 3x3 conv (ReLU6) -> 1x1 (linear) -> 1x1 (ReLU6) -> 1x1 (linear) + residual -> 1x1 output."""
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers = 3, [], [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    model.subgraphs = [graph]
    rng = np.random.default_rng(0)
    image = flat.add_tensor(model, [1, 8, 8, 3], "image")

    def convolution(source, channels, kernel, activation, offset=0.0):
        inputs = int(graph.tensors[source].shape[3])
        weights = rng.normal(0, (kernel * kernel * inputs) ** -0.5, (channels, kernel, kernel, inputs))
        spread = np.exp(rng.normal(0, 1, channels))[:, None, None, None]  # uneven channels, as real ones are
        options = schema.Conv2DOptionsT()
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
        options.padding, options.fusedActivationFunction = schema.Padding.SAME, activation
        output = flat.add_tensor(model, [1, 8, 8, channels], "")
        constants = [
            flat.add_constant(model, (weights * spread).astype(np.float32), ""),
            flat.add_constant(model, (offset + rng.normal(0, 0.3, channels)).astype(np.float32), ""),
        ]
        graph.operators.append(flat.new_op(model, "CONV_2D", 1, [source, *constants], [output], options=options))
        return output

    stem = convolution(image, 8, 3, 3)
    narrow = convolution(stem, 4, 1, 0, offset=20.0)
    wide = convolution(narrow, 16, 1, 3, offset=-20.0)
    branch = convolution(wide, 4, 1, 0, offset=-15.0)
    options = schema.AddOptionsT()
    total = flat.add_tensor(model, [1, 8, 8, 4], "")
    graph.operators.append(flat.new_op(model, "ADD", 1, [narrow, branch], [total], options=options))
    result = convolution(total, 5, 1, 0)
    flat.set_interface(model, {image: "image"}, {result: "result"}, "a small net")
    return model
