"""A .tflite file's operators and tensors as plain values, for judging them without a runtime's kernels."""

import struct
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.errors import MissingDependencyError, ModelError

# First bytes of every .tflite file, after a word of offset.
IDENTIFIER: Final = b"TFL3"
HEAD_BYTES: Final = 8
# What the flatbuffers reader raises when offsets lead nowhere.
DAMAGE: Final = (
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor.

    Attributes:
        name: in the file.
        shape: as stored; `signature` has -1 where the shape is only known at run time.
        signature: empty where the shape is fixed.
        dtype: as in INT8.
        scales: quantization scales: none, one, or one a channel along `channel_axis`.
        zero_points: as many.
        channel_axis: which axis `scales` run along.
        value: the constant; None for a tensor that is computed, or of a type that is not judged here.
        constant_bytes: size of the constant in the file.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    channel_axis: int
    value: NDArray[Any] | None
    constant_bytes: int

    @property
    def constant(self) -> bool:
        """Whether it is known when the model is compiled."""
        return self.constant_bytes > 0


@dataclass(frozen=True, slots=True)
class OpInfo:
    """An operator: its name as in CONV_2D, its version, its tensors in order, its options by the schema's names."""

    name: str
    version: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """A model: its operators in the order in which they run, and what goes in and out."""

    subgraphs: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ops: tuple[OpInfo, ...]
    tensors: tuple[TensorInfo, ...]


def read_graph(data: bytes, path: object) -> Graph:
    """Take a .tflite file apart.

    Args:
        data: the file.
        path: its name, for errors.

    Raises:
        ModelError: it is no .tflite model.
        MissingDependencyError: ai-edge-litert, whose description of the format is used, is not installed.
    """
    schema = _schema()
    wrong = ModelError(f"{path}: not a .tflite model, or a damaged one; expected a file that TFLite's converter wrote")
    if data[4:HEAD_BYTES] != IDENTIFIER:
        raise wrong
    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        return _convert(schema, model)
    except DAMAGE:
        raise wrong from None


def _schema() -> ModuleType:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingDependencyError(
            f"models cannot be read without ai-edge-litert ({error}): pip install ai-edge-litert"
        ) from None
    module: ModuleType = schema_py_generated
    return module


def _names(kind: type) -> dict[int, str]:
    return {value: name for name, value in vars(kind).items() if isinstance(value, int)}


def _convert(schema: ModuleType, model: Any) -> Graph:  # noqa: ANN401 -- the schema's Python code is untyped
    graph = model.subgraphs[0]
    types, operators = _names(schema.TensorType), _names(schema.BuiltinOperator)
    tensors = tuple(_tensor(tensor, model.buffers, types) for tensor in graph.tensors)

    def pick(indices: Any) -> tuple[TensorInfo, ...]:  # noqa: ANN401
        return tuple(tensors[index] for index in indices if index >= 0)

    ops = []
    for op in graph.operators:
        code = model.operatorCodes[op.opcodeIndex]
        name = operators[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name == "CUSTOM" and code.customCode:
            name = code.customCode.decode()
        options = dict(vars(op.builtinOptions)) if op.builtinOptions else {}
        ops.append(OpInfo(name, code.version, pick(op.inputs), pick(op.outputs), options))
    return Graph(len(model.subgraphs), pick(graph.inputs), pick(graph.outputs), tuple(ops), tensors)


def _tensor(tensor: Any, buffers: Any, types: dict[int, str]) -> TensorInfo:  # noqa: ANN401
    data = buffers[tensor.buffer].data
    raw = b"" if data is None else np.asarray(data, dtype=np.uint8).tobytes()
    dtype = types[tensor.type]
    shape = _integers(tensor.shape)
    value = None
    if raw and dtype in ("INT8", "UINT8", "INT32"):
        value = np.frombuffer(raw, dtype=dtype.lower())
        value = value.reshape(shape) if value.size == np.prod(shape, dtype=np.int64) else value
    quantization = tensor.quantization
    scales = () if quantization is None or quantization.scale is None else tuple(map(float, quantization.scale))
    zeros = () if quantization is None else _integers(quantization.zeroPoint)
    axis = 0 if quantization is None else int(quantization.quantizedDimension)
    name = (tensor.name or b"").decode(errors="replace")
    signature = _integers(tensor.shapeSignature)
    return TensorInfo(name, shape, signature, dtype, scales, zeros, axis, value, len(raw))


def _integers(values: Any) -> tuple[int, ...]:  # noqa: ANN401 -- None, a list or an array
    return () if values is None else tuple(int(value) for value in values)
