"""The committed result of calibration: what, together with the upstream weights, gives a model's int8 files.

Everything that took floating-point sums (ranges, corrected biases, rounding decisions) is stored, so that what is left
for the writer is elementwise: any machine, any number of threads, the same bytes. Tensors and ops are named by their
index in the prepared float graph (`surgery.prepare`).
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.build import flat
from models.build.flat import Model, Operator

FOLDER = Path(__file__).parent / "recipes"
WEIGHT_MAX = 127


@dataclass
class Recipe:
    """One model, both precisions; they share all but the ops that `int8` keeps float.

    Attributes:
        factors: equalization factor of each channel of a tensor, float32.
        grids: tensor -> (scale, zero point) of its int8 form.
        rounding: convolution -> what is added to its nearest-rounded integer weights, in the file's layout, int8.
        scales: convolution -> weight scale of each output channel, float32.
        biases: convolution -> int32 bias of its int8 form.
        float_biases: convolution -> float32 bias of its float form in `int8`, for the ops kept float.
        float_ops: the ops that `int8` keeps float.
    """

    factors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    grids: dict[int, tuple[float, int]] = field(default_factory=dict)
    rounding: dict[int, NDArray[np.int8]] = field(default_factory=dict)
    scales: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    biases: dict[int, NDArray[np.int32]] = field(default_factory=dict)
    float_biases: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    float_ops: set[int] = field(default_factory=set)

    def save(self, path: Path) -> None:
        """Write it as one compressed .npz."""
        arrays: dict[str, NDArray[np.generic]] = {
            "grid_tensors": np.array(list(self.grids), np.int32),
            "grid_scales": np.array([scale for scale, _ in self.grids.values()], np.float32),
            "grid_zeros": np.array([zero for _, zero in self.grids.values()], np.int8),
            "float_ops": np.array(sorted(self.float_ops), np.int32),
        }
        for name in ("factors", "rounding", "scales", "biases", "float_biases"):
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


def recipe_path(variant: str) -> Path:
    """Where a model's recipe is committed."""
    return FOLDER / f"{variant}.npz"


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


def nearest_integers(weights: NDArray[np.float64], *, depthwise: bool) -> NDArray[np.int16]:
    """Weights rounded to -127..127, each output channel's largest magnitude becoming 127."""
    axes = (0, 1, 2) if depthwise else (1, 2, 3)
    scale = np.maximum(np.abs(weights).max(axes, keepdims=True), 1e-9) / WEIGHT_MAX
    rounded: NDArray[np.int16] = np.clip(np.round(weights / scale), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int16)
    return rounded


def integer_weights(model: Model, op: Operator, recipe: Recipe, index: int) -> NDArray[np.int8]:
    """The int8 weights of convolution `index`, in the file's layout."""
    depthwise = flat.op_name(model, op) == "DEPTHWISE_CONV_2D"
    base = nearest_integers(equalized_weights(model, op, recipe.factors), depthwise=depthwise)
    return (base + recipe.rounding[index]).astype(np.int8)
