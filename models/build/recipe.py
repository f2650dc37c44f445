"""The committed result of calibration: what, together with the upstream weights, gives a model's int8 files.

Everything that took floating-point sums (ranges, corrected biases, rounding decisions) is stored, so that what is left
for the writer is elementwise: any machine, any number of threads, the same bytes. Tensors and ops are named by their
index in the prepared float graph (`surgery.prepare`) after its bottlenecks were cut (`segments.cut`); those of
`dropped` and `edges` by their index before.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.build import flat
from models.build.flat import Model, Operator

FOLDER = Path(__file__).parent / "recipes"
WEIGHT_MAX = 127


@dataclass
class Recipe:
    """One model in one precision.

    Attributes:
        dropped: tensor of the prepared graph -> the constants of channels that are left out (`dead`), float32.
        edges: tensor of the prepared graph -> where its channels are cut, float32.
        factors: equalization factor of each channel of a tensor, float32.
        grids: tensor -> (scale, zero point) of its int8 form.
        rounding: convolution -> what is added to its nearest-rounded integer weights, in the file's layout, int16.
        steps: convolution -> what each output channel's weights were rounded in, float32.
        scales: convolution -> weight scale of each output channel, float32.
        biases: convolution -> int32 bias.
        float_biases: convolution that stays float -> float32 bias.
        float_ops: the ops that stay float.
    """

    dropped: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    edges: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    factors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    grids: dict[int, tuple[float, int]] = field(default_factory=dict)
    rounding: dict[int, NDArray[np.int16]] = field(default_factory=dict)
    steps: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    scales: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    biases: dict[int, NDArray[np.int32]] = field(default_factory=dict)
    float_biases: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    float_ops: set[int] = field(default_factory=set)

    def save(self, path: Path) -> None:
        """Write it as one compressed .npz."""
        arrays: dict[str, Any] = {
            "grid_tensors": np.array(list(self.grids), np.int32),
            "grid_scales": np.array([scale for scale, _ in self.grids.values()], np.float32),
            "grid_zeros": np.array([zero for _, zero in self.grids.values()], np.int8),
            "float_ops": np.array(sorted(self.float_ops), np.int32),
        }
        for name in ("dropped", "edges", "factors", "rounding", "steps", "scales", "biases", "float_biases"):
            for index, values in getattr(self, name).items():
                arrays[f"{name}/{index}"] = values
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Recipe":
        """Read it back."""
        recipe = cls()
        with np.load(path) as arrays:
            pairs = zip(arrays["grid_scales"].tolist(), arrays["grid_zeros"].tolist(), strict=True)
            recipe.grids = dict(zip(arrays["grid_tensors"].tolist(), pairs, strict=True))
            recipe.float_ops = set(arrays["float_ops"].tolist())
            for key in arrays.files:
                name, _, index = key.partition("/")
                if index:
                    getattr(recipe, name)[int(index)] = arrays[key]
        return recipe


def recipe_path(variant: str, precision: str) -> Path:
    """Where a model's recipe is committed."""
    return FOLDER / f"{variant}-{precision}.npz"


def equalized_weights(model: Model, op: Operator, factors: dict[int, NDArray[np.float32]]) -> NDArray[np.float64]:
    """A convolution's float weights after equalization, in the file's layout; elementwise in double precision."""
    weights = flat.constant(model, op.inputs[1])
    assert weights is not None
    result: NDArray[np.float64] = weights.astype(np.float64)
    before, after = factors.get(int(op.inputs[0])), factors.get(int(op.outputs[0]))
    depthwise = flat.op_name(model, op) == "DEPTHWISE_CONV_2D"
    if after is not None:
        scale = after.astype(np.float64)
        result = result * (scale if depthwise else scale[:, None, None, None])
    if before is not None:
        result = result / before.astype(np.float64)
    return result


def nearest_integers(
    weights: NDArray[np.float64], steps: NDArray[np.float32] | None, *, depthwise: bool
) -> NDArray[np.int16]:
    """Weights in these steps, one an output channel, rounded to -127..127; by default the largest becomes 127."""
    if steps is None:
        axes = (0, 1, 2) if depthwise else (1, 2, 3)
        shaped = np.maximum(np.abs(weights).max(axes, keepdims=True), 1e-9) / WEIGHT_MAX
    else:
        shaped = steps.astype(np.float64) if depthwise else steps.astype(np.float64)[:, None, None, None]
    rounded: NDArray[np.int16] = np.clip(np.round(weights / shaped), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int16)
    return rounded


def integer_weights(model: Model, op: Operator, recipe: Recipe, index: int) -> NDArray[np.int8]:
    """The int8 weights of convolution `index`, in the file's layout."""
    depthwise = flat.op_name(model, op) == "DEPTHWISE_CONV_2D"
    weights = equalized_weights(model, op, recipe.factors)
    base = nearest_integers(weights, recipe.steps.get(index), depthwise=depthwise)
    return (base + recipe.rounding[index]).astype(np.int8)
