"""Read, edit and write .tflite files through the schema's object API.

A model is the schema's ModelT; everything here works on its first and only subgraph. The objects are untyped (the
schema's Python code is generated), so they are `Any`.
"""

from collections.abc import Iterable
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

Model = Any
Operator = Any
Tensor = Any
Options = Any

DTYPES: dict[int, type[np.generic]] = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT8: np.int8,
}
TYPE_CODES = {np.dtype(dtype): code for code, dtype in DTYPES.items()}
OP_NAMES: dict[int, str] = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
# Operator codes above 127 do not fit the old one-byte field, which then holds this placeholder.
OLD_CODE_LIMIT = 127


def parse(data: bytes) -> Model:
    """The editable model in a .tflite file's bytes."""
    return schema.ModelT.InitFromPackedBuf(data, 0)


class _Builder(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers publishes no types
    """Aligns constants to 16 bytes, as the schema asks, and stores equal vectors once.

    An int8 model has a zero point of 0 for every channel of every weight and bias: stored once, they stop mattering.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._offsets: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, values: NDArray[Any]) -> int:  # noqa: N802 -- overrides the library's method
        data = np.ascontiguousarray(values).tobytes()
        key = (values.dtype.str, data)
        if key not in self._offsets:
            is_constant = values.dtype == np.uint8
            self.StartVector(values.itemsize, values.size, CONSTANT_ALIGNMENT if is_constant else values.itemsize)
            self.head -= len(data)
            self.Bytes[self.head : self.head + len(data)] = data
            self._offsets[key] = self.EndVector()
        return self._offsets[key]


CONSTANT_ALIGNMENT = 16


def serialize(model: Model) -> bytes:
    """The .tflite file's bytes; the same model always gives the same bytes."""
    builder = _Builder(1 << 22)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def op_name(model: Model, op: Operator) -> str:
    """The operator's name, as in CONV_2D."""
    code = model.operatorCodes[op.opcodeIndex]
    return OP_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def constant(model: Model, index: int) -> NDArray[Any] | None:
    """A tensor's constant value in its own shape, or None for a tensor computed at run time."""
    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        return None
    values = np.frombuffer(bytes(bytearray(data)), DTYPES[tensor.type])
    return values.reshape(tensor.shape) if tensor.sparsity is None else values


def add_constant(model: Model, value: NDArray[Any], name: str) -> int:
    """Append a constant tensor; returns its index."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
    model.buffers.append(buffer)
    index = add_tensor(model, value.shape, name, value.dtype)
    model.subgraphs[0].tensors[index].buffer = len(model.buffers) - 1
    return index


def add_tensor(model: Model, shape: Iterable[int], name: str, dtype: npt.DTypeLike = np.float32) -> int:
    """Append a tensor that is computed at run time; returns its index."""
    tensor = schema.TensorT()
    tensor.name = name.encode()
    tensor.shape = np.array(list(shape), np.int32)
    tensor.type = TYPE_CODES[np.dtype(dtype)]
    tensor.buffer = 0
    tensors = model.subgraphs[0].tensors
    tensors.append(tensor)
    return len(tensors) - 1


def op_code(model: Model, name: str, version: int) -> int:
    """Index of the operator code with that name and version; appended if missing."""
    builtin = getattr(schema.BuiltinOperator, name)
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin and code.version == version:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, version
    code.deprecatedBuiltinCode = min(builtin, OLD_CODE_LIMIT)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def new_op(
    model: Model, name: str, version: int, inputs: list[int], outputs: list[int], *, options: Options = None
) -> Operator:
    """An operator object, not yet in the graph; `options` is the schema's object for it, if it has one."""
    op = schema.OperatorT()
    op.opcodeIndex = op_code(model, name, version)
    op.inputs, op.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    if options is not None:
        op.builtinOptions = options
        op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    return op


def convolution_options() -> Options:
    """Of a CONV_2D of stride 1 that pads nothing and has no activation."""
    return _stride_1(schema.Conv2DOptionsT())


def depthwise_options() -> Options:
    """Of a DEPTHWISE_CONV_2D of stride 1 that pads nothing and has no activation."""
    options = _stride_1(schema.DepthwiseConv2DOptionsT())
    options.depthMultiplier = 1
    return options


def _stride_1(options: Options) -> Options:
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding = schema.Padding.VALID
    return options


def prune(model: Model) -> None:
    """Drop every operator, tensor, buffer and operator code that the graph's outputs do not need."""
    graph = model.subgraphs[0]
    needed = {int(i) for i in graph.outputs}
    kept = []
    for op in reversed(graph.operators):
        if any(int(i) in needed for i in op.outputs):
            kept.append(op)
            needed.update(int(i) for i in op.inputs if i >= 0)
    graph.operators = kept[::-1]
    needed.update(int(i) for op in kept for i in op.outputs)
    needed.update(int(i) for i in graph.inputs)
    _renumber_tensors(model, sorted(needed))
    _renumber_buffers(model)
    used = sorted({op.opcodeIndex for op in graph.operators})
    model.operatorCodes = [model.operatorCodes[i] for i in used]
    for op in graph.operators:
        op.opcodeIndex = used.index(op.opcodeIndex)


def _renumber_tensors(model: Model, order: list[int]) -> None:
    graph = model.subgraphs[0]
    place = {old: new for new, old in enumerate(order)} | {-1: -1}
    graph.tensors = [graph.tensors[i] for i in order]
    for holder in (graph, *graph.operators):
        holder.inputs = np.array([place[int(i)] for i in holder.inputs], np.int32)
        holder.outputs = np.array([place[int(i)] for i in holder.outputs], np.int32)


def _renumber_buffers(model: Model) -> None:
    buffers = [schema.BufferT()]  # the first buffer is empty by convention: run-time tensors point to it
    place: dict[int, int] = {}
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            tensor.buffer = 0
            continue
        if tensor.buffer not in place:
            place[tensor.buffer] = len(buffers)
            buffers.append(model.buffers[tensor.buffer])
        tensor.buffer = place[tensor.buffer]
    model.buffers = buffers
    model.metadata = model.metadataBuffer = None


def set_interface(model: Model, inputs: dict[int, str], outputs: dict[int, str], description: str) -> None:
    """Make these tensors the graph's inputs and outputs, under these names, with one signature.

    Other tensors get short names of their own (`t12`), so that no name occurs twice.
    """
    graph = model.subgraphs[0]
    names = inputs | outputs
    for index, tensor in enumerate(graph.tensors):
        tensor.name = names.get(index, f"t{index}").encode()
    graph.inputs = np.array(list(inputs), np.int32)
    graph.outputs = np.array(list(outputs), np.int32)
    graph.name = b"main"
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [_tensor_map(name, index) for index, name in inputs.items()]
    signature.outputs = [_tensor_map(name, index) for index, name in outputs.items()]
    model.signatureDefs = [signature]
    model.description = description.encode()


def _tensor_map(name: str, index: int) -> Options:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), index
    return entry
