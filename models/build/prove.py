"""Prove that a rewritten model's outputs equal upstream's to the last bit, with XNNPACK and with reference kernels."""

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from models.build.fold import OUTPUTS

Image = NDArray[np.float32]


def outputs_of(data: bytes, images: list[Image], *, reference: bool) -> list[dict[str, NDArray[Any]]]:
    """Each image's outputs by tensor name; `reference` takes TFLite's plain kernels instead of XNNPACK."""
    resolver = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    results = []
    for image in images:
        interpreter.set_tensor(source["index"], image)
        interpreter.invoke()
        results.append({o["name"]: interpreter.get_tensor(o["index"]).copy() for o in interpreter.get_output_details()})
    return results


def prove_equal(upstream: bytes, ours: bytes, role: str, images: list[Image]) -> int:
    """Compare every kept output on every image with both kinds of kernels; returns the number of values compared.

    `images` are float32 [1, side, side, 3] in the upstream model's input range; reference kernels see the last two only
    (they take seconds an image). Raises AssertionError at the first value that differs.
    """
    compared = 0
    for reference in (False, True):
        some = images[-2:] if reference else images
        for theirs, mine in zip(
            outputs_of(upstream, some, reference=reference), outputs_of(ours, some, reference=reference), strict=True
        ):
            for their_name, our_name in OUTPUTS[role].items():
                a, b = theirs[their_name], mine[our_name]
                kernels = "reference kernels" if reference else "XNNPACK"
                assert a.shape == b.shape, f"{our_name}: shape {b.shape}, upstream {a.shape}"
                assert a.tobytes() == b.tobytes(), f"{our_name} differs from upstream's with {kernels}"
                compared += a.size
    return compared
