"""Our delegate, built, and both TFLite runtimes, as far as they can be had here."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS / "delegate" / "test_delegate.c"
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-D_GNU_SOURCE", "-shared", "-fPIC", "-fvisibility=hidden"]
TFLITE = "tflite-runtime==2.14.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edge-pose"


def build_delegate(folder: Path, compiler: str = "cc") -> Path:
    """Compile the delegate; skips where there is no C compiler."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}: the delegate is written in C (apt install gcc libc6-dev)")
    library = folder / "libtestdelegate.so"
    subprocess.run([compiler, *FLAGS, "-o", str(library), str(SOURCE)], check=True, capture_output=True, text=True)
    return library


@cache
def environment_of(runtime: str) -> dict[str, str]:
    """The environment in which Python finds that runtime; tflite-runtime is fetched once into a cache of its own."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    if runtime == "ai-edge-litert":
        return environment
    if sys.version_info >= (3, 12):
        pytest.skip(f"{TFLITE} has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]}; it ends at 3.11")
    if importlib.metadata.version("numpy") >= "2":
        pytest.skip(f"{TFLITE} needs numpy 1")
    folder = fetch_tflite(f"cp{sys.version_info[0]}{sys.version_info[1]}")
    return {**environment, "PYTHONPATH": f"{TESTS.parent}:{folder}"}


def fetch_tflite(tag: str, options: Sequence[str] = ()) -> Path:
    """tflite-runtime in a folder of the cache, by itself; skips where pip cannot fetch it.

    `tag` tells that folder from others, `options` tell pip which wheel is wanted.
    """
    folder = CACHE / f"{TFLITE.replace('==', '-')}-{tag}"
    if not (folder / "tflite_runtime").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", TFLITE]
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        done = subprocess.run([*command, "--target", str(fresh), *options], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"pip cannot fetch {TFLITE}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder
