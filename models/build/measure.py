"""Measure the built models: distance to their own float model, size, and time; as JSON and as a page of tables."""

import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models.build import crops, gallery, manifest, score
from models.build.runner import Runner
from models.build.upstream import UPSTREAM, Upstream, upstream_bytes

CROPS, FRAMES = 240, 160
# Name in the tables -> scene, seed, and whether its crops are disturbed or as the pipeline takes them.
SCENES = {
    "selection, disturbed": ("selection", 2, True),
    "selection stills, disturbed": ("selection stills", 8, True),
    "test, as taken": ("test", 5, False),
    "test, disturbed": ("test", 3, True),
    "fresh, as taken": ("fresh", 6, False),
    "fresh, disturbed": ("fresh", 4, True),
}
TIMED_RUNS = 120
JSON_FILE, TABLE_FILE = manifest.MODELS_DIR / "measured.json", manifest.MODELS_DIR / "MEASURED.md"


def write(variants: list[str], folder: Path, threads: int) -> None:
    """Measure the models in `folder`, and write measured.json and MEASURED.md; other variants' figures stay."""
    measured: dict[str, Any] = json.loads(JSON_FILE.read_text()) if JSON_FILE.exists() else {"models": {}}
    measured["machine"] = {
        "processor": _processor(),
        "ai-edge-litert": version("ai-edge-litert"),
        "opencv-python-headless": version("opencv-python-headless"),
        "command": "python -m models.build --measure",
    }
    for variant in variants:
        model = UPSTREAM[variant]
        files = {p: folder / manifest.file_name(model, p) for p in ("float16", "int8", "int8-full")}
        models = {precision: path.read_bytes() for precision, path in files.items() if path.exists()}
        print(f"measuring {variant}", flush=True)
        measured["models"][variant] = {
            "accuracy": accuracy(model, models, threads),
            "milliseconds": timing({"upstream": upstream_bytes(model)} | models),
            "bytes": {"upstream": len(upstream_bytes(model))} | {p: len(data) for p, data in models.items()},
        }
        JSON_FILE.write_text(json.dumps(measured, indent=1) + "\n")
    TABLE_FILE.write_text(tables(measured))


def accuracy(model: Upstream, models: dict[str, bytes], threads: int) -> dict[str, dict[str, dict[str, float]]]:
    """Scene -> precision -> the score's fields."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for name, (scene, seed, disturb) in SCENES.items():
        sets = crops.make(scene, CROPS, FRAMES, seed, disturb=disturb, threads=threads)
        result[name] = {}
        if model.role == "detector":
            people = {p: score.run_people(data, sets.frames, threads) for p, data in models.items()}
            for precision in set(people) - {"float16"}:
                result[name][precision] = score.as_table(score.compare_people(people["float16"], people[precision]))
        else:
            poses = {p: score.run_poses(data, sets.crops, threads) for p, data in models.items()}
            if name == "test, disturbed" and "int8" in poses:
                gallery.write(model.variant, sets.crops, poses)
            for precision in set(poses) - {"float16"}:
                result[name][precision] = score.as_table(score.compare_poses(poses["float16"], poses[precision]))
    return result


def timing(models: dict[str, bytes], runs: int = TIMED_RUNS) -> dict[str, float]:
    """CPU time of an invocation in ms, one thread: the 10th percentile of runs that take turns.

    CPU time, and its low end, because what else the machine does only adds.
    """
    runners = {name: Runner(data, threads=1) for name, data in models.items()}
    for runner in runners.values():
        runner.invoke()
    times: dict[str, list[int]] = {name: [] for name in runners}
    for _ in range(runs):
        for name, runner in runners.items():
            start = time.process_time_ns()
            runner.invoke()
            times[name].append(time.process_time_ns() - start)
    return {name: round(float(np.percentile(values, 10)) / 1e6, 3) for name, values in times.items()}


def _processor() -> str:
    """The CPU's name and the instructions that int8 speed depends on."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimddp", "i8mm")
    found = [flag for flag in wanted if f" {flag}" in text]
    return f"{name or platform.processor() or platform.machine()} ({', '.join(found) or 'plain'})"


def tables(measured: dict[str, Any]) -> str:
    """The Markdown page."""
    machine = measured["machine"]
    lines = [
        "# Measured",
        "",
        "Written by `python -m models.build --measure`. Distances are between an int8 model and its own float16 model",
        "on the same crops, both refined by the heatmap, in torsos, over the crops in which float sees a person.",
        f"Machine: {machine['processor']}, ai-edge-litert {machine['ai-edge-litert']},",
        f"OpenCV {machine['opencv-python-headless']}, one thread,",
        "CPU time of an invocation: the 10th percentile of runs that take turns.",
    ]
    for title, role in (("Landmarks", "landmarks"), ("Detector", "detector")):
        rows = [
            {"model": f"{variant} {precision}", "scene": scene, **values}
            for variant, entry in measured["models"].items()
            if UPSTREAM[variant].role == role
            for scene, by_precision in entry["accuracy"].items()
            for precision, values in sorted(by_precision.items())
        ]
        lines += ["", f"## {title}", "", *_table(rows)]
    rows = []
    for variant, entry in measured["models"].items():
        for name, milliseconds in entry["milliseconds"].items():
            ratio = milliseconds / entry["milliseconds"]["upstream"]
            size = entry["bytes"][name]
            rows.append(
                {"model": f"{variant} {name}", "bytes": size, "ms": milliseconds, "of upstream": round(ratio, 3)}
            )
    return "\n".join([*lines, "", "## Size and time", "", *_table(rows), ""])


def _table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["(none)"]
    head = list(rows[0])
    body = [
        "| " + " | ".join(f"{row[key]:,}" if isinstance(row[key], int) else str(row[key]) for key in head) + " |"
        for row in rows
    ]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body]
