"""The command `models check-edgetpu`: which operators the Edge TPU would run, and whether the model fits its memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from edge.edgetpu import CUSTOM_OP
from edge.edgetpu_graph import Graph, OpInfo, TensorInfo, read_graph
from edge.edgetpu_rules import ACTIVATION_TYPES, Remark, Verdict, judge
from edge.errors import ModelError, ModelNotFoundError

MIB: Final = 2**20
# The chip has 8 MiB for parameters and for the program that runs the model. What compiler 16 leaves for parameters, as
# logs that users published say (used plus remaining): 7.6 MiB for 36 operators, 7.0 for 214, 6.8 for 256, 6.1 for 294.
ON_CHIP_MIB: Final = 8
ROOM_AT_BEST_MIB: Final = 7.6
ROOM_AT_WORST_MIB: Final = 6.0
# The compiler cuts a model once: what follows an operator on the CPU stays there, supported or not.
BEHIND_CPU: Final = "it follows an operator that the CPU runs, and the compiler does not go back"
# In the same logs parameters take 1.0 to 1.1 times what they take in the file, for they are padded.
PADDING: Final = 1.1
WORDS: Final[dict[Verdict, str]] = {"maps": "Edge TPU", "unsure": "Edge TPU or CPU", "cpu": "CPU"}


@dataclass(frozen=True, slots=True)
class Judged:
    """An operator and what was found: `maps`, `unsure` or `cpu`, with the reasons."""

    op: OpInfo
    verdict: Verdict
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be expected of the compiler.

    Attributes:
        whole: what speaks against the model as a whole.
        ops: every operator, in order.
        parameter_bytes: of weights and biases, as stored.
        largest_activation_bytes: of the operator whose inputs and outputs are largest.
        already_compiled: the model is one that the compiler wrote.
    """

    whole: tuple[str, ...]
    ops: tuple[Judged, ...]
    parameter_bytes: int
    largest_activation_bytes: int
    already_compiled: bool

    @property
    def maps(self) -> bool:
        """Whether every operator should run on the Edge TPU."""
        return not self.whole and all(judged.verdict == "maps" for judged in self.ops)

    @property
    def memory(self) -> Literal["fits", "may fit", "does not fit"]:
        """Whether the parameters stay on the chip; what does not fit travels anew with every picture."""
        needed_mib = self.parameter_bytes * PADDING / MIB
        if needed_mib <= ROOM_AT_WORST_MIB:
            return "fits"
        return "may fit" if self.parameter_bytes / MIB <= ROOM_AT_BEST_MIB else "does not fit"


def check(path: Path) -> Report:
    """Judge a .tflite file.

    Raises:
        ModelError: it is missing, or no .tflite model.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path}: there is no such file; expected a .tflite model") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    return judge_graph(read_graph(data, path))


def judge_graph(graph: Graph) -> Report:
    """Judge a model that was taken apart."""
    compiled = any(op.name == CUSTOM_OP for op in graph.ops)
    judged = []
    from_cpu: set[int] = set()
    for op in graph.ops:
        remarks = [] if op.name == CUSTOM_OP else judge(op)
        if not remarks and any(id(tensor) in from_cpu for tensor in op.inputs):
            remarks = [Remark("cpu", BEHIND_CPU)]
        verdicts = {remark.verdict for remark in remarks}
        verdict: Verdict = "cpu" if "cpu" in verdicts else "unsure" if "unsure" in verdicts else "maps"
        if verdict == "cpu":
            from_cpu.update(map(id, op.outputs))
        judged.append(Judged(op, verdict, tuple(remarks)))
    constants = {id(tensor): tensor for op in graph.ops for tensor in op.inputs if tensor.constant}
    parameters = sum(tensor.constant_bytes for tensor in constants.values() if _is_parameter(tensor))
    activations = max((sum(map(_size, (*op.inputs, *op.outputs))) for op in graph.ops), default=0)
    return Report(tuple(_whole(graph)), tuple(judged), parameters, activations, compiled)


def _whole(graph: Graph) -> list[str]:
    complaints = []
    if graph.subgraphs != 1:
        complaints.append(f"{graph.subgraphs} subgraphs; the compiler takes one")
    for what, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in tensors:
            if tensor.dtype not in ACTIVATION_TYPES:
                complaints.append(f"{what} {tensor.name!r} is {tensor.dtype}; INT8 is expected")
            if tensor.shape[:1] != (1,) or -1 in tensor.signature:
                complaints.append(
                    f"{what} {tensor.name!r} has the shape {list(tensor.shape)}; a batch of 1 is expected"
                )
    return complaints


def _is_parameter(tensor: TensorInfo) -> bool:
    """Weights and biases have a scale; shapes, axes and amounts of padding do not travel to the chip."""
    return bool(tensor.scales)


def _size(tensor: TensorInfo) -> int:
    return 0 if tensor.constant else int(np.prod(tensor.shape, dtype=np.int64))


def print_report(path: Path, report: Report) -> None:
    """Say what was found: reasons first, then the operators counted by kind, then memory."""
    print(f"{path}: {len(report.ops)} operators")
    for complaint in report.whole:
        print(f"  whole model: {complaint}")
    for number, judged in enumerate(report.ops):
        if judged.verdict != "maps":
            reasons = "; ".join(remark.reason for remark in judged.remarks if remark.verdict != "maps")
            print(f"  {judged.verdict:<6} {number:>4} {judged.op.name}: {reasons}")
    print(f"  {'operator':<26} {'count':>5}  expected on")
    for (name, verdict), count in sorted(Counter((judged.op.name, judged.verdict) for judged in report.ops).items()):
        print(f"  {name:<26} {count:>5}  {WORDS[verdict]}")
    notes = {f"{judged.op.name}: {remark.reason}" for judged in report.ops for remark in judged.remarks}
    for note in sorted(notes if report.maps else ()):
        print(f"  note: {note}")
    if report.already_compiled:
        print("  This file comes from the compiler: what it put into one operator is not seen here.")
        return
    print(
        f"  parameters {report.parameter_bytes / MIB:.2f} MiB; of the {ON_CHIP_MIB} MiB on the chip the program leaves "
        f"about {ROOM_AT_WORST_MIB:g} to {ROOM_AT_BEST_MIB:g}: {report.memory}"
    )
    print(f"  largest activations of one operator {report.largest_activation_bytes / MIB:.2f} MiB")
    end = "Every operator should" if report.maps else "Not all of it would"
    print(f"  {end} run on the Edge TPU.")


def check_models(paths: Sequence[Path]) -> int:
    """Judge and print each file; returns 1 if one would not run as a whole on the Edge TPU."""
    reports = []
    for path in paths:
        reports.append(check(path))
        print_report(path, reports[-1])
    return 0 if all(report.maps for report in reports) else 1
