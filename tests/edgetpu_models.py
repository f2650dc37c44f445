"""Small .tflite models made on the spot, and stand-ins for compiled ones, which only the Edge TPU compiler can make."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

INT8 = schema.TensorType.INT8
FLOAT32 = schema.TensorType.FLOAT32
INT32 = schema.TensorType.INT32
TYPES = {np.dtype(np.int8): INT8, np.dtype(np.float32): FLOAT32, np.dtype(np.int32): INT32}
VALID = schema.Padding.VALID
CUSTOM_OP = b"edgetpu-custom-op"


@dataclass
class Builder:
    """A graph that grows operator by operator."""

    model: Any = field(default_factory=schema.ModelT)

    def __post_init__(self) -> None:
        self.model.version = 3
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self, shape: Sequence[int], kind: int = INT8, *, name: str = "", scale: float = 0.1, zero: int = 0
    ) -> int:
        tensor = schema.TensorT()
        tensor.shape = np.array(shape, np.int32)
        tensor.type, tensor.buffer = kind, 0
        tensor.name = (name or f"t{len(self.graph.tensors)}").encode()
        if kind in (INT8, INT32):
            self._quantize(tensor, [scale], zero, 0)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(
        self, values: NDArray[Any], *, scales: Sequence[float] = (0.1,), dimension: int = 0, zero: int = 0
    ) -> int:
        index = self.tensor(values.shape, TYPES[values.dtype])
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor = self.graph.tensors[index]
        tensor.buffer = len(self.model.buffers) - 1
        self._quantize(tensor, scales, zero, dimension)
        return index

    @staticmethod
    def _quantize(tensor: Any, scales: Sequence[float], zero: int, dimension: int) -> None:
        quantization = schema.QuantizationParametersT()
        quantization.scale = np.array(scales, np.float32)
        quantization.zeroPoint = np.full(len(scales), zero, np.int64)
        quantization.quantizedDimension = dimension
        tensor.quantization = quantization

    def op(self, name: str, inputs: Sequence[int], outputs: Sequence[int], version: int = 1, **options: Any) -> None:
        code = schema.OperatorCodeT()
        code.version = version
        if name == "CUSTOM":
            code.customCode = options.pop("custom_code")
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        self.model.operatorCodes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        kind = options.pop("kind", None)
        if kind:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            op.builtinOptions = getattr(schema, f"{kind}T")()
            for key, value in options.items():
                setattr(op.builtinOptions, key, value)
        self.graph.operators.append(op)

    def conv(
        self,
        source: int,
        channels: int,
        *,
        name: str = "",
        scale: float = 0.1,
        bias: Sequence[float] = (),
        filter_type: type = np.int8,
        per_channel: bool = True,
    ) -> int:
        """A 1x1 convolution with weights of 0; returns its output, which is everywhere the bias, in real numbers."""
        _, height, width, depth = self.graph.tensors[source].shape
        filter_scale, source_scale = 0.02, float(self.graph.tensors[source].quantization.scale[0])
        count = channels if per_channel else 1
        weights = self.constant(np.zeros((channels, 1, 1, depth), filter_type), scales=[filter_scale] * count)
        real = np.asarray(bias if len(bias) else np.zeros(channels))
        integer = np.round(real / (filter_scale * source_scale)).astype(np.int32)
        biases = self.constant(integer, scales=[filter_scale * source_scale] * count)
        output = self.tensor((1, height, width, channels), name=name, scale=scale)
        strides = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
        self.op("CONV_2D", [source, weights, biases], [output], 3, kind="Conv2DOptions", padding=VALID, **strides)
        return output

    def pool(self, source: int, by: int) -> int:
        """The largest of every square of `by` elements a side."""
        shape, quantization = self.graph.tensors[source].shape, self.graph.tensors[source].quantization
        size = (1, int(shape[1]) // by, int(shape[2]) // by, int(shape[3]))
        output = self.tensor(size, scale=float(quantization.scale[0]), zero=int(quantization.zeroPoint[0]))
        sides = {"strideW": by, "strideH": by, "filterWidth": by, "filterHeight": by}
        self.op("MAX_POOL_2D", [source], [output], 2, kind="Pool2DOptions", padding=VALID, **sides)
        return output

    def reshape(self, source: int, shape: Sequence[int], name: str) -> int:
        """The same elements in another shape."""
        output = self.tensor(shape, name=name, scale=float(self.graph.tensors[source].quantization.scale[0]))
        self.op("RESHAPE", [source, self.constant(np.array(shape, np.int32), scales=())], [output])
        return output

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def compiled(image_shape: Sequence[int], outputs: Sequence[tuple[str, Sequence[int], float]]) -> bytes:
    """What the compiler makes of a model that maps as a whole: one custom operator from the image to the outputs.

    Each output is a name, a shape and a scale.
    """
    build = Builder()
    image = build.tensor(image_shape, name="image", scale=1 / 255, zero=-128)
    ends = [build.tensor(shape, name=name, scale=scale) for name, shape, scale in outputs]
    build.op("CUSTOM", [image], ends, custom_code=CUSTOM_OP)
    return build.finish([image], ends)


def compiled_of(data: bytes) -> bytes:
    """The same, from a plain model's own image and outputs."""
    graph = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0]
    image = graph.tensors[graph.inputs[0]]
    ends = [graph.tensors[index] for index in graph.outputs]
    outputs = [(end.name.decode(), list(end.shape), float(end.quantization.scale[0])) for end in ends]
    return compiled(list(image.shape), outputs)


def detector() -> bytes:
    """An int8 model with the detector's interface, which sees one upright person in the middle of every picture."""
    build = Builder()
    image = build.tensor((1, 224, 224, 3), name="image", scale=2 / 255, zero=0)
    point = build.pool(image, 224)
    box = np.zeros((2254, 12))
    box[:, 2:4] = 100  # width and height; the keypoints: middle of the hips, and the circle round the body above it
    box[:, 7] = -80
    logits = np.full(2254, -10.0)
    logits[28 * 28 * 2 + (7 * 14 + 7) * 2] = 10
    boxes = build.reshape(build.conv(point, box.size, scale=1.0, bias=box.ravel()), (1, 2254, 12), "boxes")
    scores = build.reshape(build.conv(point, logits.size, bias=logits), (1, 2254, 1), "scores")
    return build.finish([image], [boxes, scores])


def landmarks() -> bytes:
    """An int8 model with the landmark models' interface, which finds all 33 in the middle, with a presence of 0.9."""
    build = Builder()
    image = build.tensor((1, 256, 256, 3), name="image", scale=1 / 255, zero=-128)
    point = build.pool(image, 256)
    outputs = [build.conv(build.pool(image, 4), 39, name="heatmap", bias=[-10] * 39)]
    for name, values, scale in (("landmarks", [120.0, 120, 0, 3, 3] * 39, 1.0), ("presence", [0.9], 0.01)):
        outputs.append(build.reshape(build.conv(point, len(values), scale=scale, bias=values), (1, len(values)), name))
    outputs.append(build.reshape(build.conv(point, 117, bias=[0.0] * 117), (1, 117), "world"))
    return build.finish([image], outputs)


MODELS = {"pose_detector": detector, "pose_landmark_lite": landmarks}


def write_folder(folder: Path) -> None:
    """A models folder with the two models above, int8-full, and the same compiled, as far as our delegate goes."""
    default = '{ detector = "int8-full", lite = "int8-full" }'
    tables = ["schema = 1", f"[default_precision]\nai-edge-litert = {default}\ntflite-runtime = {default}"]
    for name, make in MODELS.items():
        plain = make()
        (folder / f"{name}.tflite").write_bytes(plain)
        tables.append("[[models]]\n" + _entry(name, f"{name}.tflite", plain))
    for name, make in MODELS.items():
        plain = make()
        ours = compiled_of(plain)
        (folder / f"{name}_edgetpu.tflite").write_bytes(ours)
        made = f'{{ compiler = "test", sha256 = "{_sum(plain)}", edgetpu_ops = 9, cpu_ops = 1, '
        made += "on_chip_bytes = 1, off_chip_bytes = 0 }"
        tables.append("[[edgetpu]]\n" + _entry(name, f"{name}_edgetpu.tflite", ours) + f"\ncompilation = {made}")
    (folder / "manifest.toml").write_text("\n\n".join(tables) + "\n")


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _entry(name: str, file: str, data: bytes) -> str:
    graph = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0]
    role = "detector" if name == "pose_detector" else "landmarks"
    shape = [int(size) for size in graph.tensors[graph.inputs[0]].shape]
    outputs = [
        f'{{ name = "{graph.tensors[index].name.decode()}", shape = {[int(n) for n in graph.tensors[index].shape]}, '
        f'dtype = "int8", meaning = "" }}'
        for index in graph.outputs
    ]
    return "\n".join(
        [
            f'name = "{name}"\nrole = "{role}"\nvariant = "{"detector" if role == "detector" else "lite"}"',
            f'precision = "int8-full"\nfile = "{file}"\nbytes = {len(data)}\nsha256 = "{_sum(data)}"\nlicence = ""',
            'source = { registry = "", package = "", version = "", path = "", sha256 = "" }',
            f'input = {{ name = "image", shape = {shape}, dtype = "int8", order = "RGB", range = [0.0, 1.0] }}',
            f"outputs = [{', '.join(outputs)}]",
        ]
    )
