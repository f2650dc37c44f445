"""Rounded weights kept while a calibration runs, so that one that was interrupted goes on where it was.

Only rounding is kept: it takes most of the time and no room. All else is computed again, so that what a calibration
finds is the same to the last bit whether it was interrupted or not.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.build.graph import Net
from models.build.ranges import Grid
from models.build.upstream import cache_dir


class KeptRounding:
    """A folder with what `rounding.gptq` gave for each convolution of one calibration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Integers and scale of convolution `index`, None if it was not rounded yet."""
        path = self._path(index)
        if not path.exists():
            return None
        with np.load(path) as arrays:
            return torch.from_numpy(arrays["integers"]).float(), torch.from_numpy(arrays["scale"])

    def save(self, index: int, integers: Tensor, scale: Tensor) -> None:
        """Keep them; a file is there as a whole or not at all."""
        path = self._path(index)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, integers=integers.numpy().astype(np.int8), scale=scale.numpy())
        part.replace(path)

    def _path(self, index: int) -> Path:
        return self._folder / f"{index}.npz"


def folder(variant: str) -> Path:
    """Where the unfinished calibrations of a model are kept."""
    return cache_dir() / f"unfinished-{variant}"


def kept_for(
    variant: str, net: Net, images: Tensor, grids: dict[int, Grid], float_ops: set[int], steps: object
) -> KeptRounding:
    """What was kept of a calibration with all of this the same, by the same code; empty if there was none."""
    digest = hashlib.sha256()
    for name in ("rounding.py", "sequential.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    digest.update(repr((sorted(grids.items()), sorted(float_ops), steps)).encode())
    for tensor in (images, *(part for index in sorted(net.params) for part in net.params[index])):
        digest.update(tensor.contiguous().numpy().tobytes())
    return KeptRounding(folder(variant) / digest.hexdigest()[:16])
