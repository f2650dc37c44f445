"""The command `models check-edgetpu`: which operators the Edge TPU would run, and whether the model fits its memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from edge.edgetpu import CUSTOM_OP
from edge.edgetpu_graph import HEAD_BYTES, IDENTIFIER, Graph, OpInfo, TensorInfo, read_graph
from edge.edgetpu_rules import ACTIVATION_TYPES, Remark, Verdict, judge
from edge.errors import ModelError
from edge.manifest import ModelStore

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
PRECISION: Final = "int8-full"
ADVICE: Final = f"It takes models whose numbers are all 8-bit; ours for it are the {PRECISION} ones."
Memory = Literal["fits", "may fit", "does not fit"]
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
        parameter_bytes: of weights and biases that would go to the chip, as stored.
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
    def memory(self) -> Memory:
        """Whether the parameters stay on the chip."""
        return memory_of(self.parameter_bytes)


def memory_of(parameter_bytes: int) -> Memory:
    """Whether so many bytes of parameters stay on the chip; what does not fit travels anew with every picture."""
    if parameter_bytes * PADDING / MIB <= ROOM_AT_WORST_MIB:
        return "fits"
    return "may fit" if parameter_bytes / MIB <= ROOM_AT_BEST_MIB else "does not fit"


def check(path: Path) -> Report:
    """Judge a .tflite file.

    Raises:
        ModelError: it is missing, or no .tflite model.
    """
    try:
        with path.open("rb") as file:
            data = file.read(HEAD_BYTES)
            if data[4:] == IDENTIFIER:  # nothing else is read whole: it may be large, or never end
                data += file.read()
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file; expected a .tflite model") from None
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
    on_chip = [one.op for one in judged if one.verdict != "cpu"]
    constants = {id(tensor): tensor for op in on_chip for tensor in op.inputs if tensor.constant}
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
    room = (
        f"of the {ON_CHIP_MIB} MiB on the chip the program leaves about {ROOM_AT_WORST_MIB:g} to {ROOM_AT_BEST_MIB:g}"
    )
    whose = "parameters" if report.maps else "parameters of what would run there"
    print(f"  {whose} {report.parameter_bytes / MIB:.2f} MiB; {room}: {report.memory}")
    print(f"  largest activations of one operator {report.largest_activation_bytes / MIB:.2f} MiB")
    if report.maps:
        print("  Every operator should run on the Edge TPU.")
        return
    some = sum(judged.verdict == "maps" for judged in report.ops)
    print(f"  Not all of it would run on the Edge TPU: {some} of {len(report.ops)} operators. {ADVICE}")


def check_models(paths: Sequence[Path]) -> int:
    """Judge and print each file; returns 1 if one would not run as a whole on the Edge TPU."""
    reports = []
    for path in paths:
        reports.append(check(path))
        print_report(path, reports[-1])
    return 0 if all(report.maps for report in reports) else 1


def check_store(store: ModelStore) -> int:
    """Judge all int8-full models, and whether the detector and a landmark model stay on one chip together.

    Raises:
        ModelNotFoundError: there are none.
    """
    status = check_models(store.paths(PRECISION))
    entries = [entry for entry in store.manifest.models if entry.precision == PRECISION]
    sizes = {
        (entry.role, entry.name): check(store.path(entry)).parameter_bytes
        for entry in entries
        if store.path(entry).is_file()
    }
    for (role, name), size in sizes.items():
        for (other_role, other), other_size in sizes.items():
            if (role, other_role) == ("detector", "landmarks"):
                both = size + other_size
                print(f"{name} and {other} on one Edge TPU: parameters {both / MIB:.2f} MiB: {memory_of(both)}")
    return status
