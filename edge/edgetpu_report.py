"""A report from a machine with an Edge TPU, as a JSON document: `python -m edge.edgetpu_report` (scripts/coral-report).

What it holds is what nobody can know without the chip: that the models load, how fast they are, whether the chip's
results are those of the CPU, what going from one model to the other costs, and how it all is when warm. docs/coral.md
says when a report is taken as a reference.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import __version__, validate
from edge.benchmark_board import Machine
from edge.benchmark_models import times
from edge.benchmark_result import Board, Times
from edge.config import ModelSettings
from edge.edgetpu import devices, is_edgetpu, library_version, listed_by_pycoral
from edge.edgetpu_probe import probe
from edge.errors import EdgePoseError
from edge.manifest import Compilation, ModelStore
from edge.output import check_file, write_file
from edge.runtime import Model, Runtime, load_runtime

PRECISION: Final = "int8-full"
PICTURES: Final = 20
MILLI: Final = 1e3


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How far an output of the chip is from the CPU's, in the output's own unit, over all pictures."""

    output: str
    mean: float
    largest: float
    spread: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One model.

    Attributes:
        name, file, sha256: of the compiled model.
        compilation: what the compiler said.
        load_ms: until it is ready; the first one also wakes the device.
        first_ms: the first invocation, which sends the parameters.
        edgetpu_ms, cpu_ms: later ones; the CPU runs the plain int8-full model.
        differences: of each output, on the same pictures.
    """

    name: str
    file: str
    sha256: str
    compilation: Compilation | None
    load_ms: float
    first_ms: float
    edgetpu_ms: Times | None
    cpu_ms: Times | None
    differences: list[Difference]


class CoralReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report.

    Attributes:
        schema: 1.
        time: when it was made, UTC.
        version: of edge-pose.
        board: the machine.
        device: the setting that was measured.
        library: what libedgetpu says of itself.
        edgetpus: of this machine; `pycoral` lists the same where it is installed.
        models: each by itself.
        alternating_ms: landmarks, when the detector ran in between, on the same device.
        sustained_fps: landmarks per second of each tenth of the sustained run.
        edgetpu_c: temperature of a PCIe Edge TPU before and after, in degrees Celsius; USB ones do not tell.
    """

    schema: Literal[1] = 1
    time: str
    version: str = __version__
    board: Board
    device: str
    library: str
    edgetpus: list[str]
    pycoral: list[str] | None
    models: list[Measured]
    alternating_ms: Times | None
    sustained_fps: list[float]
    edgetpu_c: list[float | None]


def make_report(wanted: ModelSettings, invocations: int, sustained_s: float) -> CoralReport:
    """Measure everything; takes a minute and `sustained_s`.

    Args:
        wanted: [model]; its device is measured.
        invocations: of each model.
        sustained_s: seconds of landmarks at full speed.

    Raises:
        EdgePoseError: the device or a model cannot be used; says why.
    """
    runtime = load_runtime(wanted.runtime)
    machine = Machine()
    before, cool = machine.state(), edgetpu_celsius()
    store = ModelStore(Path(wanted.directory) if wanted.directory else None)
    names = (("landmarks", wanted.model), ("detector", "detector"))
    (landmarks, of_landmarks), (detector, of_detector) = (
        _measure(store, name, runtime, wanted, invocations) for name in names
    )
    alternating = []
    for _ in range(invocations):
        detector.invoke()
        alternating.append(_timed(landmarks))
    sustained = list(_sustained(landmarks, sustained_s))
    return CoralReport(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        board=machine.board(f"{runtime.name} {runtime.version}", before, machine.state()),
        device=wanted.device,
        library=library_version(wanted.edgetpu_library),
        edgetpus=list(map(str, devices())),
        pycoral=listed_by_pycoral(),
        models=[of_landmarks, of_detector],
        alternating_ms=times(alternating),
        sustained_fps=sustained,
        edgetpu_c=[cool, edgetpu_celsius()],
    )


def _measure(
    store: ModelStore, which: tuple[str, str], runtime: Runtime, wanted: ModelSettings, invocations: int
) -> tuple[Model, Measured]:
    entry = store.find_compiled(*which)
    start = time.perf_counter()
    model = Model(store, entry, runtime, wanted.device, wanted.threads, library=wanted.edgetpu_library)
    load_ms = (time.perf_counter() - start) * MILLI
    plain = Model(store, store.find(*which, PRECISION), runtime, "cpu", wanted.threads)
    pictures = list(make_pictures(model.input_size_px))
    model.set_image(pictures[0], "RGB")
    first_ms = _timed(model)
    differences = _differences(model, plain, pictures)
    measured = Measured(
        name=entry.name,
        file=entry.file,
        sha256=entry.sha256,
        compilation=entry.compilation,
        load_ms=round(load_ms, 3),
        first_ms=round(first_ms, 3),
        edgetpu_ms=times([_timed(model) for _ in range(invocations)]),
        cpu_ms=times([_timed(plain) for _ in range(invocations)]),
        differences=differences,
    )
    return model, measured


def make_pictures(side_px: int) -> Iterator[NDArray[np.uint8]]:
    """The same smooth patterns on every machine: uint8, shape (side_px, side_px, 3)."""
    chance = np.random.default_rng(0)
    for _ in range(PICTURES):
        coarse = chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        yield np.asarray(cv2.resize(coarse, (side_px, side_px), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _differences(model: Model, plain: Model, pictures: list[NDArray[np.uint8]]) -> list[Difference]:
    both: dict[str, list[tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}
    for picture in pictures:
        for one in (model, plain):
            one.set_image(picture, "RGB")
            one.invoke()
        for name in plain.entry.output_names():
            both.setdefault(name, []).append((model.output(name), plain.output(name)))
    found = []
    for name, pairs in both.items():
        chip, cpu = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
        apart = np.abs(chip - cpu)
        mean, largest, spread = (round(float(value), 6) for value in (apart.mean(), apart.max(), cpu.std()))
        found.append(Difference(output=name, mean=mean, largest=largest, spread=spread))
    return found


def _timed(model: Model) -> float:
    start = time.perf_counter()
    model.invoke()
    return (time.perf_counter() - start) * MILLI


def _sustained(model: Model, seconds: float) -> Iterator[float]:
    for _ in range(10):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 10:
            model.invoke()
            count += 1
        yield round(count / (time.perf_counter() - start), 2)


def edgetpu_celsius(sysfs: Path = Path("/sys")) -> float | None:
    """The hottest PCIe Edge TPU, as its driver says; None where there is none."""
    found = []
    for path in (sysfs / "class/apex").glob("apex_*/temp"):
        with contextlib.suppress(OSError, ValueError):  # a driver that does not tell is no reason to stop
            found.append(int(path.read_text().strip()) / MILLI)
    return max(found, default=None)


def main(arguments: list[str] | None = None) -> int:
    """Write the report; returns the exit status."""
    parser = argparse.ArgumentParser(prog="coral-report", description=__doc__)
    parser.add_argument("--config", metavar="FILE", type=Path, help="read settings from this file")
    parser.add_argument("--device", default="edgetpu", help="edgetpu[:usb|:pci][:N] (default: edgetpu)")
    parser.add_argument("--models", metavar="DIR", help="the folder that `edge-pose models compile --out` made")
    parser.add_argument("--invocations", metavar="N", type=int, default=300)
    parser.add_argument("--seconds", metavar="S", type=float, default=600, help="sustained run (default: 600)")
    parser.add_argument("--json", metavar="FILE", type=Path, default=Path("coral-report.json"), help="where to write")
    options = parser.parse_args(arguments)
    try:
        check_file(options.json, "--json")
        given = {"model.directory": options.models, "model.device": options.device}
        wanted = validate.load(options.config, given).settings.model
        if not is_edgetpu(wanted.device):
            parser.error(f"--device {wanted.device}: expected an Edge TPU")
        print(f"Opening {wanted.device} in a process of its own ...", file=sys.stderr)
        found = probe(wanted, wanted.device)
        if not isinstance(found, str):
            print(f"coral-report: {found.kind}: {found.text}: {found.mend}", file=sys.stderr)
            return 1
        print(f"Measuring; about {options.seconds / 60 + 1:.0f} minutes ...", file=sys.stderr)
        report = make_report(wanted, options.invocations, options.seconds)
        write_file(options.json, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    except (EdgePoseError, OSError) as error:
        print(f"coral-report: {error}", file=sys.stderr)
        return 1
    print(f"{options.json}: add it to an issue, with what it was measured on.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
