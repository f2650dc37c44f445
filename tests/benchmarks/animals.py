"""Animals taken for people, beside MediaPipe 1.2.2 on the same frames and pictures. Development only.

Usage, from the root of the repository, in the development environment (Python 3.11, x86-64 Linux, npm, apt-get):

    python -m tests.benchmarks.animals [--variants lite full] [--json FILE]

All animals are held out: the score was fitted on others (`animal_pictures`). In films a cut-out animal goes through an
empty room for two seconds under a camera's noise; it moves as a whole, not its legs. Pictures are the same cut-outs in
front of other pictures, and photographs, one at a time. Both programs look for one person, at the default settings.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import animal_pictures, contestants, people, pictures, score_scenes

SECONDS = 2.0


def films(folder: Path, step: int = 1) -> list[Path]:
    """A film of each held-out animal, or of every `step`th, in one of the four rooms."""
    rooms = [people.still(*room) for room in people.ROOMS]
    paths = []
    for number, (_, cutout) in list(enumerate(animal_pictures.cutouts(held_out=True)))[::step]:
        frames = animal_pictures.walk(rooms[number % len(rooms)], cutout, number, SECONDS, people.FPS)
        paths.append(people.write_clip(folder / f"{number:03d}.avi", frames))
    return paths


def measure(variant: str, paths: Sequence[Path], cuts: dict[str, list[score_scenes.Cut]]) -> dict[str, dict[str, Any]]:
    """All figures of one model, ours and MediaPipe's."""
    result = {}
    for name, follow, look in (
        ("edge-pose", people.ours, pictures.ours),
        (f"MediaPipe {contestants.TASKS_VERSION}", people.mediapipe, pictures.mediapipe),
    ):
        shares = [people.share(follow(path, variant)) for path in paths]
        figures: dict[str, Any] = {
            "films": len(shares),
            "frames_with_somebody": round(float(np.mean(shares)), 3),
            "films_with_somebody": round(float(np.mean([share > 0 for share in shares])), 3),
        }
        for kind, some in cuts.items():
            seen = [points is not None for points in look(some, variant)]
            figures |= {kind: len(seen), f"{kind}_with_somebody": round(float(np.mean(seen)), 3)}
        result[f"{name} {variant}"] = figures
        print(f"{name} {variant}: {figures}", flush=True)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Animals taken for people, beside MediaPipe.")
    parser.add_argument("--variants", nargs="+", default=["lite", "full"], choices=["lite", "full"])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    result: dict[str, dict[str, Any]] = {}
    cuts = {
        "cut_out": list(score_scenes.animals(held_out=True)),
        "photographed": list(score_scenes.photographed_animals()),
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = films(Path(folder))
        for variant in options.variants:
            result |= measure(variant, paths, cuts)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
