"""From an upstream model to ours in float16: sparse constants made dense, the segmentation pruned, outputs named.

Weights stay float16 behind DEQUANTIZE, as upstream has them, so that files stay small; the runtime unpacks them once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.build import flat
from models.build.flat import Model

# Upstream output name -> ours. What is missing here is pruned: `Identity_2`, the segmentation.
LANDMARK_OUTPUTS = {
    "Identity": "landmarks",
    "Identity_1": "presence",
    "Identity_3": "heatmap",
    "Identity_4": "world",
}
DETECTOR_OUTPUTS = {"Identity": "boxes", "Identity_1": "scores"}
OUTPUTS = {"detector": DETECTOR_OUTPUTS, "landmarks": LANDMARK_OUTPUTS}
INPUT = "image"


def to_float16(data: bytes, role: str, description: str) -> bytes:
    """Our float16 .tflite from the upstream file's bytes; `role` is "detector" or "landmarks"."""
    model = flat.parse(data)
    densify(model)
    name_and_prune(model, role, description)
    return flat.serialize(model)


def to_float32(data: bytes) -> Model:
    """The same model with every float16 constant unpacked to float32 and no DEQUANTIZE left: what calibration reads."""
    model = flat.parse(data)
    graph = model.subgraphs[0]
    kept = []
    for op in graph.operators:
        value = flat.constant(model, op.inputs[0]) if flat.op_name(model, op) == "DEQUANTIZE" else None
        if value is None:
            kept.append(op)
        else:
            _replace_by_constant(model, int(op.outputs[0]), value.astype(np.float32))
    graph.operators = kept
    names = {int(i): graph.tensors[i].name.decode() for i in [*graph.inputs, *graph.outputs]}
    for index, tensor in enumerate(graph.tensors):
        tensor.name = names.get(index, f"t{index}").encode()
    flat.prune(model)
    return model


def densify(model: Model) -> None:
    """Replace each DENSIFY of a sparse constant by the dense constant (MediaPipe's detector has them)."""
    graph = model.subgraphs[0]
    kept = []
    for op in graph.operators:
        if flat.op_name(model, op) != "DENSIFY":
            kept.append(op)
            continue
        source = graph.tensors[op.inputs[0]]
        values = flat.constant(model, op.inputs[0])
        assert values is not None, "DENSIFY of something that is not a constant"
        whole = dense(source, values) if source.sparsity is not None else values
        _replace_by_constant(model, int(op.outputs[0]), whole)
    graph.operators = kept


def _replace_by_constant(model: Model, index: int, value: NDArray[Any]) -> None:
    """Turn the run-time tensor `index` into this constant."""
    tensors = model.subgraphs[0].tensors
    new = tensors[flat.add_constant(model, value, "")]
    tensors.pop()
    tensor = tensors[index]
    tensor.buffer, tensor.type, tensor.shape = new.buffer, new.type, new.shape
    tensor.quantization = tensor.sparsity = None


def dense(tensor: flat.Tensor, values: NDArray[Any]) -> NDArray[Any]:
    """Decode TFLite's sparse format: one level a dimension (and a block dimension), each dense or CSR."""
    sparsity, shape = tensor.sparsity, [int(n) for n in tensor.shape]
    block_map = [] if sparsity.blockMap is None else [int(d) for d in sparsity.blockMap]
    levels, rank = sparsity.dimMetadata, len(shape)
    block = [1] * rank
    for k, dim in enumerate(block_map):
        block[dim] = int(levels[rank + k].denseSize)
    # One row a stored value: its index in each level so far. `parent` is the row's number in the level above.
    rows, parent = np.zeros((1, 0), np.int64), np.zeros(1, np.int64)
    for level in levels:
        if level.format == 0:  # dense
            size = int(level.denseSize)
            rows = np.concatenate([np.repeat(rows, size, 0), np.tile(np.arange(size), len(rows))[:, None]], 1)
            parent = (parent[:, None] * size + np.arange(size)).reshape(-1)
        else:
            segments = np.asarray(level.arraySegments.values, np.int64)
            starts, ends = segments[parent], segments[parent + 1]
            child = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
            indices = np.asarray(level.arrayIndices.values, np.int64)[child]
            rows = np.concatenate([np.repeat(rows, ends - starts, 0), indices[:, None]], 1)
            parent = child
    where = np.zeros((len(rows), rank), np.int64)
    for level_index, dim in enumerate(int(d) for d in sparsity.traversalOrder):
        if dim < rank:
            where[:, dim] += rows[:, level_index] * block[dim]
        else:
            where[:, block_map[dim - rank]] += rows[:, level_index]
    whole: NDArray[Any] = np.zeros(shape, values.dtype)
    whole[tuple(where.T)] = values[parent]
    return whole


def name_and_prune(model: Model, role: str, description: str) -> None:
    """Keep the outputs that the pipeline reads, under our names, and drop what only the others need."""
    graph = model.subgraphs[0]
    renamed = {int(i): OUTPUTS[role].get(graph.tensors[i].name.decode()) for i in graph.outputs}
    outputs = {index: name for index, name in renamed.items() if name is not None}
    assert sorted(outputs.values()) == sorted(OUTPUTS[role].values()), renamed
    graph.outputs = np.array(list(outputs), np.int32)
    kept = [graph.tensors[i] for i in outputs]
    flat.prune(model)
    # Pruning renumbers: find the kept tensors again by identity.
    place = {id(tensor): index for index, tensor in enumerate(graph.tensors)}
    new_outputs = {place[id(tensor)]: name for tensor, name in zip(kept, outputs.values(), strict=True)}
    flat.set_interface(model, {int(graph.inputs[0]): INPUT}, new_outputs, description)
