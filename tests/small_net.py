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


def small_tail():
    """A 3x3 conv (ReLU6) and three residual sums with ReLU6, the first and the last over what is pooled; a 2x2 head."""
    model = small_model()
    graph = model.subgraphs[0]
    rng = np.random.default_rng(2)
    graph.operators = graph.operators[:1]
    graph.operators[0].builtinOptions.strideW = graph.operators[0].builtinOptions.strideH = 1
    x, channels = int(graph.operators[0].outputs[0]), 8

    def add(name, inputs, shape, options, **values):
        for key, value in values.items():
            setattr(options, key, value)
        output = flat.add_tensor(model, shape, "")
        graph.operators.append(flat.new_op(model, name, 1, inputs, [output], options=options))
        return output

    def constants(shape, outputs):
        bias = rng.normal(0, 0.3, outputs).astype(np.float32)
        return [
            flat.add_constant(model, rng.normal(0, 0.4, shape).astype(np.float32), ""),
            flat.add_constant(model, bias, ""),
        ]

    def block(x, side, stride):
        shape = [1, side, side, channels]
        depthwise = flat.depthwise_options()
        d = add(
            "DEPTHWISE_CONV_2D",
            [x, *constants((1, 3, 3, channels), channels)],
            shape,
            depthwise,
            padding=schema.Padding.SAME,
            strideW=stride,
            strideH=stride,
            fusedActivationFunction=3,
        )
        if stride == 2:
            sizes = {"filterWidth": 2, "filterHeight": 2, "strideW": 2, "strideH": 2, "padding": schema.Padding.VALID}
            x = add("MAX_POOL_2D", [x], shape, schema.Pool2DOptionsT(), **sizes)
        branch = add(
            "CONV_2D", [d, *constants((channels, 1, 1, channels), channels)], shape, flat.convolution_options()
        )
        return add("ADD", [x, branch], shape, schema.AddOptionsT(), fusedActivationFunction=3)

    x = block(block(block(x, 4, 2), 4, 1), 2, 2)
    head = add("CONV_2D", [x, *constants((5, 2, 2, channels), 5)], [1, 1, 1, 5], flat.convolution_options())
    flat.set_interface(model, {int(graph.inputs[0]): "image"}, {head: "result"}, "a small tail")
    return model
