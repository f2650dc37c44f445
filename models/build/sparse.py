"""TFLite's sparse constants: 1x1 convolutions of the detector have three zeros in four weights, which need no bytes.

They make a file smaller and a process larger: the runtime keeps what it unpacks, twice. So no more of them are sparse
than make the file as small as upstream's.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

DENSE, CSR = schema.DimensionType.DENSE, schema.DimensionType.SPARSE_CSR
# Above this share of non-zeros the indices cost more than the zeros.
WORTH_IT = 0.4
# The detector's largest weights are eight of this size; with five of them sparse its file is .98 of upstream's.
LARGE, AT_MOST = 192 * 1152, 5


def worth_it(weights: NDArray[np.int8]) -> bool:
    """Whether a sparse constant is much smaller: large 1x1 weights with enough zeros."""
    return weights.shape[1:3] == (1, 1) and weights.size >= LARGE and float((weights != 0).mean()) < WORTH_IT


def encode(weights: NDArray[np.int8]) -> tuple[NDArray[np.int8], Any]:
    """Non-zero values and the schema's SparsityParametersT of 1x1 weights [outputs, 1, 1, inputs].

    Runs over the longer of outputs and inputs, so that an index into the shorter one needs one byte where it can.
    """
    matrix = weights[:, 0, 0]
    by_input = matrix.shape[0] < matrix.shape[1]
    rows = matrix.T if by_input else matrix
    outer, inner = np.nonzero(rows)
    starts = np.concatenate([[0], np.cumsum(np.bincount(outer, minlength=len(rows)))])
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder = np.array([3, 1, 2, 0] if by_input else [0, 1, 2, 3], np.int32)
    sparsity.dimMetadata = [_dense(len(rows)), _dense(1), _dense(1), _csr(starts, inner)]
    return np.ascontiguousarray(rows[outer, inner]), sparsity


def _dense(size: int) -> Any:  # noqa: ANN401 -- the schema's classes are untyped
    level = schema.DimensionMetadataT()
    level.format, level.denseSize = DENSE, size
    return level


def _csr(starts: NDArray[Any], indices: NDArray[Any]) -> Any:  # noqa: ANN401
    level = schema.DimensionMetadataT()
    level.format = CSR
    level.arraySegmentsType, level.arraySegments = _vector(starts)
    level.arrayIndicesType, level.arrayIndices = _vector(indices)
    return level


def _vector(values: NDArray[Any]) -> tuple[int, Any]:
    """The narrowest of the schema's index vectors that holds these values, and its type."""
    kinds = (
        (np.uint8, schema.Uint8VectorT, schema.SparseIndexVector.Uint8Vector),
        (np.uint16, schema.Uint16VectorT, schema.SparseIndexVector.Uint16Vector),
        (np.int32, schema.Int32VectorT, schema.SparseIndexVector.Int32Vector),
    )
    for dtype, holder, kind in kinds:
        if values.max() <= np.iinfo(dtype).max:
            vector = holder()
            vector.values = values.astype(dtype)
            return kind, vector
    raise AssertionError("more than 2 ** 31 weights")
