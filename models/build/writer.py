"""Write int8 .tflite files from a prepared float graph and a recipe. Elementwise and integer arithmetic only."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models.build import first, flat, sparse
from models.build.flat import Model, Operator
from models.build.fold import INPUT
from models.build.recipe import Recipe, equalized_weights, integer_weights

# The operator versions that brought int8.
VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "ADD": 2,
    "PAD": 2,
    "MAX_POOL_2D": 2,
    "RESIZE_BILINEAR": 3,
    "CONCATENATION": 2,
    "RESHAPE": 1,
    "LOGISTIC": 2,
}
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def write(model: Model, recipe: Recipe, precision: str, description: str) -> bytes:
    """The .tflite of one precision from a prepared model, float where the recipe says so. `model` is used up."""
    return _Writer(model, recipe, precision).write(description)


class _Writer:
    def __init__(self, model: Model, recipe: Recipe, precision: str) -> None:
        self._model, self._recipe, self._float_ops = model, recipe, recipe.float_ops
        self._graph = model.subgraphs[0]
        self._precision = precision
        self._sparse_left = sparse.AT_MOST if precision == "int8" else 0  # the Edge TPU has no DENSIFY
        self._operators: list[Operator] = []
        self._dequantized: dict[int, int] = {}
        self._quantized: dict[int, int] = {}
        self._int8 = {int(self._graph.inputs[0])}
        for index, op in enumerate(self._graph.operators):
            if index not in self._float_ops:
                self._int8 |= {int(i) for i in op.outputs}

    def write(self, description: str) -> bytes:
        graph, model = self._graph, self._model
        outputs = {int(i): graph.tensors[i].name.decode() for i in graph.outputs}
        for index, op in enumerate(list(graph.operators)):
            if index in self._float_ops:
                self._float(index, op)
            else:
                self._integer(index, op)
        graph.operators = self._operators
        for tensor in self._int8:
            self._set_grid(tensor, tensor)
        if self._precision == "int8":
            first.pair_pixels(model)
        kept = {name: graph.tensors[index] for index, name in outputs.items()}
        flat.prune(model)
        place = {id(tensor): index for index, tensor in enumerate(graph.tensors)}
        named = {place[id(tensor)]: name for name, tensor in kept.items()}
        flat.set_interface(model, {int(graph.inputs[0]): INPUT}, named, description)
        return flat.serialize(model)

    def _float(self, index: int, op: Operator) -> None:
        """A float op: float16 constants behind DEQUANTIZE, int8 inputs through DEQUANTIZE."""
        inputs = [self._as_float(int(i)) for i in op.inputs]
        if flat.op_name(self._model, op) in CONVOLUTIONS:
            weights = equalized_weights(self._model, op, self._recipe.factors).astype(np.float16)
            bias = self._recipe.float_biases[index]
            inputs = [inputs[0], self._dequantize_constant(weights), flat.add_constant(self._model, bias, "")]
        op.inputs = np.array(inputs, np.int32)
        self._operators.append(op)

    def _as_float(self, tensor: int) -> int:
        if tensor not in self._int8:
            return tensor
        if tensor not in self._dequantized:
            shape = self._graph.tensors[tensor].shape
            self._dequantized[tensor] = self._dequantize(tensor, shape)
        return self._dequantized[tensor]

    def _dequantize_constant(self, values: NDArray[np.float16]) -> int:
        return self._dequantize(flat.add_constant(self._model, values, ""), values.shape)

    def _dequantize(self, tensor: int, shape: Any) -> int:  # noqa: ANN401 -- any sequence of integers
        output = flat.add_tensor(self._model, shape, "")
        options = schema.DequantizeOptionsT()
        self._operators.append(flat.new_op(self._model, "DEQUANTIZE", 3, [tensor], [output], options=options))
        return output

    def _as_int8(self, tensor: int) -> int:
        """The tensor itself if it is int8 (or a constant), else its QUANTIZEd form."""
        if tensor in self._int8 or flat.constant(self._model, tensor) is not None:
            return tensor
        if tensor not in self._quantized:
            output = flat.add_tensor(self._model, self._graph.tensors[tensor].shape, "")
            self._set_grid(output, tensor)
            options = schema.QuantizeOptionsT()
            self._operators.append(flat.new_op(self._model, "QUANTIZE", 1, [tensor], [output], options=options))
            self._quantized[tensor] = output
        return self._quantized[tensor]

    def _set_grid(self, tensor: int, source: int) -> None:
        self._graph.tensors[tensor].type = schema.TensorType.INT8
        self._graph.tensors[tensor].quantization = quantization(*self._recipe.grids[source])

    def _integer(self, index: int, op: Operator) -> None:
        name, source = flat.op_name(self._model, op), int(op.inputs[0])
        op.opcodeIndex = flat.op_code(self._model, name, VERSIONS[name])
        if name in CONVOLUTIONS:
            weights = integer_weights(self._model, op, self._recipe, index)
            scales, bias = self._recipe.scales[index], self._recipe.biases[index]
            channel_dimension = 3 if name == "DEPTHWISE_CONV_2D" else 0
            weight_index = self._weights(weights, quantization(scales, 0, channel_dimension))
            tensors = self._graph.tensors
            bias_index = flat.add_constant(self._model, bias, "")
            tensors[bias_index].quantization = quantization(bias_scale(self._recipe.grids[source][0], scales), 0)
            op.inputs = np.array([self._as_int8(source), weight_index, bias_index], np.int32)
        else:
            op.inputs = np.array([self._as_int8(int(i)) for i in op.inputs], np.int32)
        if name == "ADD":
            op.builtinOptions.potScaleInt16 = False
        self._operators.append(op)

    def _weights(self, weights: NDArray[np.int8], quantization: Any) -> int:  # noqa: ANN401
        """The tensor that a convolution reads: a constant, or for some with many zeros what DENSIFY makes of one."""
        tensors = self._graph.tensors
        if not (self._sparse_left and sparse.worth_it(weights)):
            index = flat.add_constant(self._model, weights, "")
            tensors[index].quantization = quantization
            return index
        self._sparse_left -= 1
        values, sparsity = sparse.encode(weights)
        source = flat.add_constant(self._model, values, "")
        result = flat.add_tensor(self._model, weights.shape, "", np.int8)
        tensors[source].shape, tensors[source].sparsity = tensors[result].shape, sparsity
        tensors[source].quantization = tensors[result].quantization = quantization
        self._operators.append(flat.new_op(self._model, "DENSIFY", 1, [source], [result]))
        return result


def bias_scale(input_scale: float, scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """TFLite's rule: a bias's scale is its input's times its weights'."""
    return (np.float64(np.float32(input_scale)) * scales.astype(np.float64)).astype(np.float32)


def quantization(scale: float | NDArray[np.float32], zero: int, dimension: int = 0) -> Any:  # noqa: ANN401
    """One scale, or one for each channel along a dimension, and the zero point of all."""
    parameters = schema.QuantizationParametersT()
    parameters.scale = np.atleast_1d(np.asarray(scale, np.float32))
    parameters.zeroPoint = np.full(len(parameters.scale), zero, np.int64)
    parameters.quantizedDimension = dimension
    return parameters
