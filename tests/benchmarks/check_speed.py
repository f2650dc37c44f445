"""Did a change make the loop slower? Processor time of a frame as a ratio to the bare model, against a reference.

Usage, from the root of the repository: scripts/check-speed [--write]

Absolute times say more about a machine's mood than about the code; the ratio of the whole loop to its own model, taken
in turns in one process, round by round, hardly moves. Each machine has its file in
tests/benchmarks/reference/; `--write` makes it.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from edge.benchmark_result import Board
from tests.benchmarks import contestants as c
from tests.benchmarks.compare_mediapipe import board

ROUNDS, FRAMES = 24, 15
VARIANTS = ("lite", "full")
# Runs of the same code on a machine that does other things as well differ by about this share.
TOLERANCE = 0.10


def measure() -> dict[str, float]:
    """For each model: processor time of the loop per frame, divided by that of the model by itself."""
    found = {}
    with c.broker() as broker:
        for variant in VARIANTS:
            for precision in c.precisions(variant):
                one = c.ours(variant, precision, broker)
                with c.running([one], c.clip_file("sample")):
                    cpu_ms = c.cpu_rounds([one], ROUNDS, FRAMES)
                found[one.name] = round(c.ratio(cpu_ms[one.name], cpu_ms[f"{one.name}, bare"]), 3)
                middle_ms = median(cpu_ms[one.name])
                print(f"{one.name}: {middle_ms:.2f} ms of CPU per frame, {found[one.name]:.2f} times its model")
    return found


def slower(found: Mapping[str, float], reference: Mapping[str, Any]) -> list[str]:
    """What got slower than the reference allows, in words. A model that the reference does not know is no complaint."""
    tolerance = reference["tolerance"]
    return [
        f"{name}: {value:.2f} times its model, the reference says {reference['to_bare'][name]:.2f} "
        f"and allows {tolerance:.0%} more"
        for name, value in found.items()
        if name in reference["to_bare"] and value > reference["to_bare"][name] * (1 + tolerance)
    ]


def write(path: Path, found: Mapping[str, float], about: Board) -> None:
    """Make the machine's reference."""
    content = {
        "processor": about.processor,
        "machine": about.machine,
        "cores": about.cores,
        "versions": {"python": about.python, "runtime": about.runtime, **about.packages},
        "tolerance": TOLERANCE,
        "to_bare": found,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path.name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and compare; 1 if something got slower."""
    parser = argparse.ArgumentParser(description="Did a change make the loop slower?")
    parser.add_argument("--write", action="store_true", help="make this machine's reference")
    options = parser.parse_args(arguments)
    about = board()
    path = c.reference_path(about.processor, about.machine)
    if not options.write and not path.exists():
        print(f"There is no reference for this machine ({path.name}); --write makes one.", file=sys.stderr)
        return 2
    found = measure()
    if options.write:
        write(path, found, about)
        return 0
    reference = json.loads(path.read_text(encoding="utf-8"))
    complaints = slower(found, reference)
    if complaints:
        print("Measuring again, since only what is slow twice is slow.")
        again = measure()
        complaints = slower({name: min(value, again[name]) for name, value in found.items()}, reference)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print("Slower than the reference." if complaints else "Not slower than the reference.")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
