"""edge-pose beside MediaPipe: processor time per frame, memory, and time to the first pose. Development only.

Usage, from the root of the repository, in the development environment (Python 3.11, x86-64 Linux, ffmpeg):

    python -m tests.benchmarks.compare_mediapipe [--rounds 20] [--json FILE]

The same frames for all, in one run, taking turns; processor seconds as the operating system counts them, of all threads
of each process; decoding the clip is counted for nobody, publishing to a real MQTT broker is counted for edge-pose.
MediaPipe gets virtual environments of its own below ~/.cache/edge-pose.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from edge.benchmark_board import Machine
from edge.benchmark_result import Board
from edge.runtime import load_runtime
from tests.benchmarks import contestants as c

FRAMES = 15  # a block: what fits the memory of several processes
STARTS = 3
# Two runs of the same code on a shared machine differ by so much.
TOLERANCE = 0.15
EMPTY_ROUNDS, EMPTY_FRAMES = 4, 90
MEMORY_FRAMES = 60
CLIPS = ("sample", "walk")


def compare(clip: str, variant: str, rounds: int) -> dict[str, Any]:
    """Processor time per frame of everybody on one clip."""
    with c.broker() as broker:
        ours = [c.ours(variant, precision, broker) for precision in c.precisions(variant)]
        everybody = [*ours, *c.mediapipes(variant)]
        with c.running(everybody, c.clip_file(clip)):
            found = c.cpu_rounds(everybody, rounds, FRAMES)
    tasks = f"MediaPipe {c.TASKS_VERSION} {variant}"
    return {
        "cpu_ms_per_frame": {name: round(median(values), 2) for name, values in found.items()},
        "to_mediapipe": {one.name: round(c.ratio(found[one.name], found[tasks]), 3) for one in ours},
        "to_bare": {one.name: round(c.ratio(found[one.name], found[f"{one.name}, bare"]), 3) for one in ours},
    }


def empty(variant: str, rounds: int) -> dict[str, float]:
    """Processor milliseconds per second of a still scene without people, at 30 frames per second."""
    picture = str(c.empty_picture())
    found: dict[str, list[float]] = {}
    with c.broker() as broker:
        everybody = [*(c.ours(variant, p, broker) for p in c.precisions(variant)), *c.mediapipes(variant)]
        with c.running(everybody, c.clip_file("sample")):
            for _ in range(rounds):
                for one in everybody:
                    answer = one.ask("empty", EMPTY_FRAMES, picture=picture)
                    found.setdefault(one.name, []).append(answer["cpu_s"] * 30 / answer["frames"] * 1e3)
                    if answer["found"]:
                        print(f"{one.name}: somebody in {answer['found']} of {answer['frames']} empty frames")
    return {name: round(median(values), 1) for name, values in found.items()}


def starts(variant: str) -> dict[str, float]:
    """Seconds from starting a process to its first pose, the median of a few, taking turns."""
    clip = c.clip_file("sample")
    with c.broker() as broker:
        everybody = [*(c.ours(variant, p, broker) for p in c.precisions(variant)), *c.mediapipes(variant)]
        found: dict[str, list[float]] = {one.name: [] for one in everybody}
        for _ in range(STARTS):
            for one in everybody:
                found[one.name].append(one.start(clip).first_pose_s)
                one.stop()
    return {name: round(median(values), 3) for name, values in found.items()}


def memory(variant: str) -> dict[str, dict[str, float]]:
    """Largest resident memory in MB, of a process of its own that decodes a 720p video, or reads raw frames."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, c.broker() as broker:
        for kind, clip in files_720p(Path(folder)).items():
            for one in (*(c.ours(variant, p, broker) for p in c.precisions(variant)), *c.mediapipes(variant)):
                peak_mb = one.start(clip).ask("memory", MEMORY_FRAMES)["peak_rss_mb"]
                one.stop()
                found.setdefault(one.name, {})[kind] = round(peak_mb, 1)
    return found


def files_720p(folder: Path) -> dict[str, Path]:
    """The sample clip in 1280x720, as H.264 and without compression."""
    files = {"video_720p": folder / "sample.mp4", "raw_720p": folder / "sample-1280x720.bgr"}
    options = {"video_720p": ("-c:v", "libx264"), "raw_720p": ("-f", "rawvideo", "-pix_fmt", "bgr24")}
    for kind, path in files.items():
        scale = ("-vf", "scale=1280:720", "-frames:v", str(MEMORY_FRAMES), *options[kind])
        subprocess.run(("ffmpeg", "-v", "error", "-i", str(c.clip_file("sample")), *scale, str(path)), check=True)
    return files


def board() -> Board:
    """The machine, as the benchmark describes it."""
    runtime = load_runtime()
    state = Machine().state()
    return Machine().board(f"{runtime.name} {runtime.version}", state, state)


def show(result: dict[str, Any]) -> None:
    """Print a comparison."""
    for clip, variants in result["clips"].items():
        for variant, found in variants.items():
            print(f"\n{clip}, {variant}, CPU ms per frame:")
            for name, value in found["cpu_ms_per_frame"].items():
                print(f"  {name:<32} {value:7.2f}")
            for name in found["to_bare"]:
                print(f"  {name}: {found['to_bare'][name]:.2f} of the bare model, ", end="")
                print(f"{found['to_mediapipe'][name]:.2f} of MediaPipe {c.TASKS_VERSION}")
    for variant, found in result["empty_cpu_ms_per_s"].items():
        print(f"\n{variant}, nobody in view at 30 frames per second: CPU ms per second")
        for name, value in found.items():
            print(f"  {name:<32} {value:7.1f}")
    for variant in result["first_pose_s"]:
        print(f"\n{variant}: seconds to the first pose; largest memory in MB on a 720p video and on raw 720p frames")
        for name, seconds in result["first_pose_s"][variant].items():
            peaks = result["memory_mb"][variant][name]
            print(f"  {name:<32} {seconds:6.2f} s {peaks['video_720p']:7.1f} {peaks['raw_720p']:7.1f}")


def worse(result: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """Ratios to MediaPipe that are larger than the reference of this kind of machine allows, in words."""
    limit = 1 + reference["tolerance"]
    return [
        f"{clip}: {name} takes {value:.2f} of MediaPipe {c.TASKS_VERSION}; the reference says {known[name]:.2f}"
        for clip, variants in result["clips"].items()
        for variant, found in variants.items()
        if variant in reference["clips"].get(clip, {})
        for known in [reference["clips"][clip][variant]["to_mediapipe"]]
        for name, value in found["to_mediapipe"].items()
        if name in known and value > known[name] * limit
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and write the figures; 1 if edge-pose got worse than this machine's reference."""
    parser = argparse.ArgumentParser(description="Compare edge-pose with MediaPipe.")
    parser.add_argument("--rounds", type=int, default=20, help=f"blocks of {FRAMES} frames a contestant (default: 20)")
    parser.add_argument("--variants", nargs="+", default=["lite", "full"], choices=["lite", "full"])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    if shutil.which("ffmpeg") is None:
        parser.error("ffmpeg is missing; it makes the clips of 720p: apt-get install ffmpeg")
    about = board()
    result = {
        "machine": {"processor": about.processor, "machine": about.machine, "cores": about.cores},
        "versions": {"python": about.python, "runtime": about.runtime, **about.packages},
        "tolerance": TOLERANCE,
        "rounds": options.rounds,
        "frames_per_round": FRAMES,
        "clips": {clip: {v: compare(clip, v, options.rounds) for v in options.variants} for clip in CLIPS},
        "empty_cpu_ms_per_s": {variant: empty(variant, EMPTY_ROUNDS) for variant in options.variants},
        "first_pose_s": {variant: starts(variant) for variant in options.variants},
        "memory_mb": {variant: memory(variant) for variant in options.variants},
    }
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    path = c.reference_path(about.processor, about.machine, "mediapipe-")
    complaints = worse(result, json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
