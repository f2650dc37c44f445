"""What a model puts out, read as real numbers: int8 or float, whole or only where it is looked at."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Output:
    """One output tensor.

    Args:
        detail: the interpreter's description of it.
        view: gives an array onto the interpreter's memory, which must be gone before the next invoke.
    """

    def __init__(self, detail: dict[str, Any], view: Callable[[], NDArray[Any]]) -> None:
        self._view = view
        self._integer = detail["dtype"] != np.float32
        scale, zero_point = detail["quantization"]
        self._scale, self._zero_point = np.float32(scale), np.float32(zero_point)

    def _to_real(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Quantized values as the real numbers that they stand for; floats as they are."""
        if not self._integer:
            return values
        real = values.astype(np.float32)
        real -= self._zero_point
        real *= self._scale
        return real

    def read(self) -> NDArray[np.float32]:
        """All of it as float32 real numbers, in its own shape; a copy."""
        return self._to_real(self._view().copy())

    def reader(
        self, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> Callable[[NDArray[np.intp]], NDArray[np.float32]]:
        """A function that reads some elements in place, without converting the rest; as of `Model.reader`."""
        if not self._integer:
            return lambda indices: function(self._view().ravel().take(indices))
        every_value = np.arange(256, dtype=np.uint8).view(np.int8)  # in the order of their bits
        # In float64, rounded once: processors' float32 functions differ in their last digit.
        table = function(self._to_real(every_value).astype(np.float64)).astype(np.float32)
        return lambda indices: table.take(self._view().view(np.uint8).ravel().take(indices))

    def highest(self) -> NDArray[np.float32]:
        """The highest value of each channel of an output of shape (1, H, W, C), as real numbers, shape (C,)."""
        _, height, width, channels = self._view().shape
        # Rows first: numpy then works on long runs, ten times as fast as over all cells at once.
        rows = np.maximum.reduce(self._view().reshape(height, width * channels), axis=0)
        return self._to_real(rows.reshape(width, channels).max(axis=0))
