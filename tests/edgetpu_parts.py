"""Our delegate, built, and both TFLite runtimes, as far as they can be had here."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS / "delegate" / "test_delegate.c"
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-D_GNU_SOURCE", "-shared", "-fPIC", "-fvisibility=hidden"]
TFLITE = "tflite-runtime==2.14.0"
# What it was built against.
NUMPY = "numpy==1.26.4"
ARM64_COMPILER = "aarch64-linux-gnu-gcc"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edge-pose"


def build_delegate(folder: Path, compiler: str = "cc") -> Path:
    """Compile the delegate; skips where there is no C compiler."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}: the delegate is written in C (apt install gcc libc6-dev)")
    library = folder / "libtestdelegate.so"
    subprocess.run([compiler, *FLAGS, "-o", str(library), str(SOURCE)], check=True, capture_output=True, text=True)
    return library


@dataclass(frozen=True)
class Host:
    """Something that runs our code with one of the TFLite runtimes: a command, its environment, and its C compiler."""

    runtime: str
    python: tuple[str, ...]
    environment: dict[str, str]
    compiler: str = "cc"

    @property
    def emulated(self) -> bool:
        return self.compiler != "cc"


def host_of(name: str) -> Host:
    """The host `RUNTIME` or `RUNTIME, arm64`; skips where it cannot be had."""
    runtime, _, emulated = name.partition(", ")
    if emulated:
        return _emulated(runtime)
    paths = [str(TESTS.parent)]
    if runtime == "tflite-runtime":
        if sys.version_info >= (3, 12):
            pytest.skip(
                f"{TFLITE} has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]}; it ends at 3.11"
            )
        paths.append(str(fetch_tflite(f"cp{sys.version_info[0]}{sys.version_info[1]}")))
    return Host(runtime, (sys.executable,), {**os.environ, "PYTHONPATH": ":".join(paths)})


def _emulated(runtime: str) -> Host:
    """The arm64 Python of scripts/test-arm64, which says in the environment where it is."""
    if "ARM64_PYTHON" not in os.environ:
        pytest.skip("scripts/test-arm64 runs this")
    if shutil.which(ARM64_COMPILER) is None:
        pytest.skip(f"no {ARM64_COMPILER} (apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross)")
    version = os.environ["ARM64_PYTHON_VERSION"]
    paths = [str(TESTS.parent), os.environ["ARM64_PACKAGES"]]
    if runtime == "tflite-runtime":
        if version != "3.11":
            pytest.skip(f"{TFLITE} has no wheel for Python {version}; it ends at 3.11")
        platforms = ("--platform=manylinux_2_34_aarch64", "--platform=manylinux2014_aarch64")
        paths.insert(0, str(fetch_tflite("arm64-cp311", (*platforms, "--python-version=3.11"))))
    environment = {**os.environ, "PYTHONHOME": os.environ["ARM64_HOME"], "PYTHONPATH": ":".join(paths)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return Host(runtime, tuple(shlex.split(os.environ["ARM64_PYTHON"])), environment, ARM64_COMPILER)


def fetch_tflite(tag: str, options: Sequence[str] = ()) -> Path:
    """tflite-runtime and its numpy in a folder of the cache; skips where pip cannot fetch them.

    `tag` tells that folder from others, `options` tell pip which wheel is wanted.
    """
    folder = CACHE / f"{TFLITE}-{NUMPY}-{tag}".replace("==", "-")
    if not (folder / "tflite_runtime").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", TFLITE, NUMPY]
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        done = subprocess.run([*command, "--target", str(fresh), *options], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"pip cannot fetch {TFLITE}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder
