"""Instructions that a 64-bit Arm processor executes for a frame, counted by qemu. Development only.

Usage, from the root of the repository, after tests/benchmarks/arm-setup:

    python -m tests.benchmarks.arm_instructions [--json FILE]

qemu's own counting plugin (tests/tcg/plugins/insn.c) counts every instruction of the process. Each figure is the
difference between a run over more frames and a run over fewer, divided by the number of frames between them, so that
starting Python is left out. An instruction count is no time: cores differ in how many they finish in a cycle, and how
long they wait for memory.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.sample import cache_directory
from tests.benchmarks import contestants as c
from tests.benchmarks.arm_guest import HEIGHT, SETTLED, WIDTH
from tests.benchmarks.worker import Clip

ROOT = Path(__file__).resolve().parents[2]
TREE = cache_directory() / "arm64"
PROCESSORS = {"cortex-a53": "Raspberry Pi 3", "cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5"}
# In the sample clip's first frames people are hard to find.
UNCLEAR = 40
# How many frames the two runs have.
RUNS = {"model": (1, 3), "frame": (SETTLED, SETTLED + 4)}
TIMEOUT_S = 900
MODELS = ("detector", "lite", "full")


def count(processor: str, *arguments: str) -> int:
    """All instructions of one run of arm_guest.py."""
    environment = {
        **os.environ,
        "PYTHONHOME": str(TREE / "root/usr"),
        "PYTHONPATH": f"{TREE / 'root/opt/packages'}:{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # the same dictionaries, so the same instructions, each time
        "QEMU_CPU": processor,
    }
    qemu = (str(TREE / "qemu-aarch64"), "-plugin", f"{TREE / 'libinsn.so'},inline=on", "-d", "plugin")
    python = (
        "-L",
        str(TREE / "root"),
        str(TREE / "root/usr/bin/python3.11"),
        str(ROOT / "tests/benchmarks/arm_guest.py"),
    )
    done = subprocess.run(
        (*qemu, *python, *arguments), env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    found = re.search(r"^total insns: (\d+)$", done.stderr, re.MULTILINE)
    if done.returncode != 0 or not found:
        raise RuntimeError(f"{processor} {arguments}: status {done.returncode}: {done.stderr[-400:]}")
    return int(found[1])


def per_frame(processor: str, what: str, variant: str, precision: str, frames: Path) -> float:
    """Million instructions for one invocation or frame."""
    few, many = RUNS[what]
    fewer, more = (count(processor, what, variant, precision, str(n), str(frames)) for n in (few, many))
    return round((more - fewer) / (many - few) / 1e6, 1)


def write_frames(path: Path) -> None:
    """Some frames of the sample clip in which somebody is seen clearly, 1280x720, without compression."""
    clip = Clip(str(c.clip_file("sample")), rgb=False)
    for _ in range(UNCLEAR):
        clip.read()
    pictures = [
        cv2.resize(clip.read()[0], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for _ in range(RUNS["frame"][1])
    ]
    np.stack(pictures).tofile(path)


def main() -> None:
    """Count, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Count the instructions of a frame on 64-bit Arm.")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    result: dict[str, Any] = {"unit": "million executed instructions", "processors": PROCESSORS, "figures": []}
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.bgr"
        write_frames(frames)
        cases = [("model", variant, precision) for variant in MODELS for precision in c.precisions(variant)]
        cases += [("frame", variant, precision) for variant in MODELS[1:] for precision in c.precisions(variant)]
        for what, variant, precision in cases:
            found = {processor: per_frame(processor, what, variant, precision, frames) for processor in PROCESSORS}
            result["figures"].append({"what": what, "model": variant, "precision": precision, **found})
            print(what, variant, precision, found, flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
