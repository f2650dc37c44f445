"""Build models/*.tflite and models/manifest.toml from the upstream models: `python -m models.build`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from edge.errors import EdgePoseError
from models.build import float16, manifest
from models.build.upstream import UPSTREAM

# Too large for the repository; the same command builds it.
NOT_COMMITTED = {"heavy"}


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m models.build", description=__doc__)
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=list(UPSTREAM),
        default=list(UPSTREAM),
        help="which models to build (default: all; the others' manifest entries stay as they are)",
    )
    parser.add_argument("--out", type=Path, default=manifest.MODELS_DIR, help="folder to write the .tflite files to")
    parser.add_argument(
        "--update-manifest",
        action="store_true",
        help="write the new sums to manifest.toml; without it the build must give the bytes that the manifest names",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Build, write, verify; returns the exit status."""
    args = parse_arguments(arguments)
    try:
        entries = build(args.variants, args.out)
        table = manifest.read()
        if args.update_manifest:
            made = {entry["file"] for entry in entries}
            table["models"] = [m for m in table["models"] if m["file"] not in made] + entries
            table.setdefault("default_precision", {"ai-edge-litert": "float16", "tflite-runtime": "float16"})
            manifest.write(table)
            table = manifest.read()
        print("\n".join(manifest.verify(table, args.out)))
    except EdgePoseError as error:
        print(f"models.build: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def build(variants: list[str], folder: Path) -> list[dict[str, Any]]:
    """Build the named variants in every precision into `folder`; returns their manifest entries."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for variant in variants:
        model = UPSTREAM[variant]
        data = float16.build(model)
        (folder / manifest.file_name(model, "float16")).write_bytes(data)
        entries.append(manifest.entry(model, "float16", data, committed=variant not in NOT_COMMITTED))
    return entries


if __name__ == "__main__":
    sys.exit(main())
