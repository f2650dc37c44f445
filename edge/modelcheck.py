"""The commands `models list` and `models verify`."""

import sys

from edge.errors import ModelError, ModelNotFoundError
from edge.manifest import ModelStore


def list_models(store: ModelStore) -> int:
    """Print the models of the store, where they came from and which one each runtime takes by default."""
    print(f"{'model':<22} {'precision':<10} {'bytes':>10}  source")
    for entry in store.manifest.models:
        source = f"{entry.source.package} {entry.source.version}, {entry.licence}"
        absent = "" if store.path(entry).is_file() else "  (not here)"
        print(f"{entry.name:<22} {entry.precision:<10} {entry.bytes:>10,}  {source}{absent}")
    for entry in store.manifest.edgetpu:
        made = entry.compilation
        how = (
            f"edgetpu_compiler {made.compiler}: {made.edgetpu_ops} operators, {made.cpu_ops} on the CPU" if made else ""
        )
        print(f"{entry.name:<22} {'Edge TPU':<10} {entry.bytes:>10,}  {how}")
    for runtime, precisions in store.manifest.default_precision.items():
        chosen = ", ".join(f"{variant} {precision}" for variant, precision in precisions.items())
        print(f"{runtime} runs by default: {chosen}")
    print(f"folder: {store.directory}")
    return 0


def verify_models(store: ModelStore) -> int:
    """Compare each model file with its sum; returns 1 if one that belongs here is missing or differs."""
    status = 0
    for entry in [*store.manifest.models, *store.manifest.edgetpu]:
        if entry.compilation is None and not entry.committed and not store.path(entry).is_file():
            print(f"absent   {entry.file} (does not come with edge-pose; models.build makes it)")
            continue
        try:
            store.read(entry)
            print(f"ok       {entry.file}")
        except ModelNotFoundError as error:
            print(f"missing  {entry.file}")
            print(f"edge-pose: {error}", file=sys.stderr)
            status = 1
        except ModelError as error:
            print(f"damaged  {entry.file}")
            print(f"edge-pose: {error}", file=sys.stderr)
            status = 1
    return status
