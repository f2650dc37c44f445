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
    graph.operators = graph.operators[:1]
    graph.operators[0].builtinOptions.strideW = graph.operators[0].builtinOptions.strideH = 1
    tail = _Tail(model, channels=8)
    x = int(graph.operators[0].outputs[0])
    x = tail.block(tail.block(tail.block(x, 4, 2), 4, 1), 2, 2)
    head = tail.convolution(x, (5, 2, 2, 8), [1, 1, 1, 5])
    flat.set_interface(model, {int(graph.inputs[0]): "image"}, {head: "result"}, "a small tail")
    return model


class _Tail:
    """Adds ops with random weights to a model."""

    def __init__(self, model, channels):
        self._model, self._channels, self._rng = model, channels, np.random.default_rng(2)

    def block(self, x, side, stride):
        """relu6(x + P d) with d a depthwise convolution of x; with stride 2, x is pooled."""
        shape, channels = [1, side, side, self._channels], self._channels
        options = flat.depthwise_options()
        options.padding, options.fusedActivationFunction = schema.Padding.SAME, 3
        options.strideW = options.strideH = stride
        d = self._add("DEPTHWISE_CONV_2D", [x, *self._constants((1, 3, 3, channels), channels)], shape, options)
        if stride == 2:
            options = schema.Pool2DOptionsT()
            options.filterWidth = options.filterHeight = options.strideW = options.strideH = 2
            options.padding = schema.Padding.VALID
            x = self._add("MAX_POOL_2D", [x], shape, options)
        branch = self.convolution(d, (channels, 1, 1, channels), shape)
        options = schema.AddOptionsT()
        options.fusedActivationFunction = 3
        return self._add("ADD", [x, branch], shape, options)

    def convolution(self, x, weights_shape, shape):
        """A linear one."""
        inputs = [x, *self._constants(weights_shape, weights_shape[0])]
        return self._add("CONV_2D", inputs, shape, flat.convolution_options())

    def _add(self, name, inputs, shape, options):
        output = flat.add_tensor(self._model, shape, "")
        op = flat.new_op(self._model, name, 1, inputs, [output], options=options)
        self._model.subgraphs[0].operators.append(op)
        return output

    def _constants(self, weights_shape, outputs):
        bias = self._rng.normal(0, 0.3, outputs).astype(np.float32)
        weights = self._rng.normal(0, 0.4, weights_shape).astype(np.float32)
        return [flat.add_constant(self._model, weights, ""), flat.add_constant(self._model, bias, "")]
