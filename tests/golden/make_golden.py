"""Make this folder's data again: what MediaPipe 0.10.21 finds in the sample clip. Development only.

Usage, from the root of the repository, in the development environment (Python 3.11 on x86-64 Linux):

    python -m tests.golden.make_golden              # writes tests/golden/mediapipe-0.10.21-{lite,full}.npz
    python -m tests.golden.make_golden --out DIR    # writes them elsewhere, to compare

MediaPipe needs packages that the project must not have (numpy 1, matplotlib), so it gets a virtual environment of its
own, ~/.cache/edge-pose/golden-venv, made at the first run (some 250 MB). The clip and the models come from the packages
that models/build pins. The work inside that environment is mediapipe_poses.py.
"""

import argparse
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from edge.sample import cache_directory
from models.build import clips, upstream

HERE = Path(__file__).resolve().parent
# MediaPipe's own requirements, less the ones that only its other solutions import (jax, sentencepiece, sounddevice),
# and with OpenCV's headless wheel in place of the one that wants a display. The data was made with these versions.
OPENCV = "opencv-python-headless==4.14.0.94"
WITHOUT_DEPENDENCIES = ("mediapipe==0.10.21", OPENCV)
REQUIREMENTS = (
    "numpy==1.26.4",
    "protobuf==4.25.9",
    "flatbuffers==25.12.19",
    "absl-py==2.5.1",
    "attrs==26.1.0",
    "matplotlib==3.11.2",
)


def golden_python() -> Path:
    """The Python of the environment that has MediaPipe 0.10.21; makes the environment at the first call."""
    return environment_python("golden-venv", REQUIREMENTS, WITHOUT_DEPENDENCIES)


def environment_python(name: str, requirements: Sequence[str], without_dependencies: Sequence[str]) -> Path:
    """The Python of a virtual environment below the cache; makes the environment where it is not what is asked for.

    Args:
        name: of the environment's folder.
        requirements: installed with what they need.
        without_dependencies: installed alone, since they ask for more than is used.
    """
    folder = cache_directory() / name
    python, finished = folder / "bin" / "python", folder / "finished"
    wanted = "\n".join((*requirements, *without_dependencies))
    if not finished.exists() or finished.read_text(encoding="utf-8") != wanted:
        print(f"making {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = (str(python), "-m", "pip", "install", "--quiet", "--only-binary=:all:")
        subprocess.run((*install, *requirements), check=True)
        subprocess.run((*install, "--no-deps", *without_dependencies), check=True)
        finished.write_text(wanted, encoding="utf-8")
    return python


def landmark_model(variant: str) -> Path:
    """The upstream landmark model as a file in the build's cache."""
    path = upstream.cache_dir() / f"pose_landmark_{variant}.tflite"
    path.write_bytes(upstream.upstream_bytes(upstream.UPSTREAM[variant]))
    return path


def main() -> int:
    """Fetch clip and models, then run MediaPipe on them in its own environment."""
    parser = argparse.ArgumentParser(description="Make the golden data from MediaPipe 0.10.21.")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: this file's)")
    out: Path = parser.parse_args().out
    if sys.version_info[:2] != (3, 11):
        print("The pinned MediaPipe wheel is for Python 3.11: run this with python3.11.", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    clip = clips.extracted(*clips.DEMO_CLIP)
    script = HERE / "mediapipe_poses.py"
    for variant in ("lite", "full"):
        model = landmark_model(variant)
        file = out / f"mediapipe-0.10.21-{variant}.npz"
        subprocess.run((str(golden_python()), str(script), str(clip), variant, str(model), str(file)), check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
