"""A head of our own on the landmark models: how much like a person what is in the crop looks.

Upstream's `presence` is sure of much that is no person. What tells people from furniture and animals better are the
features of the trunk's last 8x8 cells, from which both the heatmap and the landmarks are made: their mean, weighted.
The weights are fitted together with those of `edge.evidence` by `python -m tests.benchmarks.fit_score`, on scenes that
score nothing. The mean is taken after weighting: a 1x1 convolution to one channel, then one over all cells.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models.build import flat
from models.build.flat import Model, Operator
from models.build.recipe import WEIGHT_MAX, Recipe, nearest_integers
from models.build.writer import VERSIONS, bias_scale, quantization

FOLDER = Path(__file__).parent / "heads"
OUTPUT = "person"
FEATURES = "features"
CELLS = 8
# The weights of a convolution that gives the mean of all cells.
MEAN = np.full((1, CELLS, CELLS, 1), 1 / CELLS**2, np.float32)
# How much wider than what the fit saw int8's ranges are.
MARGIN = 1.2
INT8_STEPS = 255


@dataclass
class Head:
    """What was fitted.

    Attributes:
        weights: of each channel of upstream's model, float32; 0 for those that int8 leaves out (`dead`).
        bias: so that the mean over what was fitted is 0.
        cells: the lowest and highest value of single cells in what was fitted.
        means: the same of the output.
    """

    weights: NDArray[np.float32]
    bias: float
    cells: tuple[float, float]
    means: tuple[float, float]

    def save(self, path: Path) -> None:
        """Write it as .npz."""
        np.savez_compressed(path, weights=self.weights, bias=self.bias, cells=self.cells, means=self.means)

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Read it back."""
        with np.load(path) as arrays:
            cells, means = ((float(arrays[name][0]), float(arrays[name][1])) for name in ("cells", "means"))
            return cls(arrays["weights"].astype(np.float32), float(arrays["bias"]), cells, means)


def head_path(variant: str) -> Path:
    """Where a variant's head is committed."""
    return FOLDER / f"{variant}.npz"


def kept_channels(prepared: Model, recipe: Recipe) -> NDArray[np.bool_]:
    """Which of upstream's features int8 has, from the prepared graph with all of them; the others say nothing."""
    _, readers = _find_features(prepared)
    heatmap, landmarks = (np.isnan(recipe.dropped[int(op.outputs[0])]) for op in readers)
    assert np.array_equal(heatmap, landmarks)
    return heatmap


def int8_factors(kept: NDArray[np.bool_], rewritten: Model, recipe: Recipe) -> NDArray[np.float32]:
    """By what int8 has upstream's features multiplied, shape (C,), from the graph without channels; 0 for those."""
    features, _ = _find_features(rewritten)
    factors = np.zeros(len(kept), np.float32)
    factors[kept] = recipe.factors.get(features, 1.0)
    return factors


def exposed(data: bytes) -> bytes:
    """The same model with one more output, `features`: what the head reads. For fitting only."""
    model = flat.parse(data)
    features, _ = _find_features(model)
    _set_outputs(model, {features: FEATURES})
    return flat.serialize(model)


def add(data: bytes, variant: str, factors: NDArray[np.float32] | None = None) -> bytes:
    """A finished model with the variant's head, its output `person` a logit; an int8 one has `int8_factors`.

    A variant for which none was fitted stays as it is.
    """
    if not head_path(variant).exists():
        return data
    head, model = Head.load(head_path(variant)), flat.parse(data)
    features, _ = _find_features(model)
    if factors is None:
        output = _add_float(model, features, head)
    else:
        kept = factors > 0
        output = _add_integer(model, features, head, head.weights[kept] / factors[kept])
    _set_outputs(model, {output: OUTPUT})
    return flat.serialize(model)


def strip(model: Model) -> None:
    """Take the head off again."""
    graph = model.subgraphs[0]
    graph.outputs = np.array([i for i in graph.outputs if graph.tensors[i].name != OUTPUT.encode()], np.int32)
    flat.prune(model)


def _find_features(model: Model) -> tuple[int, list[Operator]]:
    """The tensor of 8x8 cells that two depthwise convolutions read, to the heatmap and to the landmarks; and these."""
    graph = model.subgraphs[0]
    readers: dict[int, list[Operator]] = {}
    for op in graph.operators:
        source = int(op.inputs[0])
        shape = [int(n) for n in graph.tensors[source].shape]
        if flat.op_name(model, op) == "DEPTHWISE_CONV_2D" and shape[1:3] == [CELLS, CELLS]:
            readers.setdefault(source, []).append(op)
    (found,) = (item for item in readers.items() if len(item[1]) == 2)
    return found


def _add_float(model: Model, features: int, head: Head) -> int:
    cells = _float_convolution(model, features, head.weights.reshape(1, 1, 1, -1), head.bias, CELLS)
    return _flattened(model, _float_convolution(model, cells, MEAN, 0.0, 1))


def _float_convolution(model: Model, source: int, weights: NDArray[np.float32], bias: float, side: int) -> int:
    """A convolution to one channel with float16 weights, as all others of the file are; returns its output."""
    unpacked = flat.add_tensor(model, weights.shape, "")
    packed = flat.add_constant(model, weights.astype(np.float16), "")
    unpack = flat.new_op(model, "DEQUANTIZE", 3, [packed], [unpacked], options=schema.DequantizeOptionsT())
    model.subgraphs[0].operators.append(unpack)
    constants = [unpacked, flat.add_constant(model, np.array([bias], np.float32), "")]
    output = flat.add_tensor(model, [1, side, side, 1], "")
    model.subgraphs[0].operators.append(_convolution(model, 1, [source, *constants], output))
    return output


def _add_integer(model: Model, features: int, head: Head, weights: NDArray[np.float32]) -> int:
    cells = _integer_convolution(model, features, weights.reshape(1, 1, 1, -1), head.bias, CELLS, head.cells)
    return _flattened(model, _integer_convolution(model, cells, MEAN, 0.0, 1, head.means))


def _integer_convolution(
    model: Model, source: int, weights: NDArray[np.float32], bias: float, side: int, seen: tuple[float, float]
) -> int:
    """A convolution to one int8 channel that holds what was seen, and some more; returns its output."""
    tensors = model.subgraphs[0].tensors
    steps = np.array([np.abs(weights).max() / WEIGHT_MAX], np.float32)
    rounded = nearest_integers(weights.astype(np.float64), steps, depthwise=False).astype(np.int8)
    integers = flat.add_constant(model, rounded, "")
    tensors[integers].quantization = quantization(steps, 0)
    bias_steps = bias_scale(float(tensors[source].quantization.scale[0]), steps)
    added = flat.add_constant(model, np.array([round(bias / float(bias_steps[0]))], np.int32), "")
    tensors[added].quantization = quantization(bias_steps, 0)
    output = flat.add_tensor(model, [1, side, side, 1], "", np.int8)
    low, high = MARGIN * min(seen[0], 0.0), MARGIN * max(seen[1], 0.0)
    scale = (high - low) / INT8_STEPS
    tensors[output].quantization = quantization(scale, round(-128 - low / scale))
    model.subgraphs[0].operators.append(_convolution(model, VERSIONS["CONV_2D"], [source, integers, added], output))
    return output


def _convolution(model: Model, version: int, inputs: list[int], output: int) -> Operator:
    return flat.new_op(model, "CONV_2D", version, inputs, [output], options=flat.convolution_options())


def _flattened(model: Model, source: int) -> int:
    graph = model.subgraphs[0]
    shape = flat.add_constant(model, np.array([1, 1], np.int32), "")
    output = flat.add_tensor(model, [1, 1], "", flat.DTYPES[graph.tensors[source].type])
    graph.tensors[output].quantization = graph.tensors[source].quantization
    graph.operators.append(flat.new_op(model, "RESHAPE", 1, [source, shape], [output]))
    return output


def _set_outputs(model: Model, more: dict[int, str]) -> None:
    graph = model.subgraphs[0]
    names = {int(i): graph.tensors[i].name.decode() for i in [*graph.inputs, *graph.outputs]}
    inputs = {int(i): names[int(i)] for i in graph.inputs}
    outputs = {int(i): names[int(i)] for i in graph.outputs}
    flat.set_interface(model, inputs, outputs | more, model.description.decode())
