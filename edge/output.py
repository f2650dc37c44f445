"""Files that commands write: looked at before any work is done, and never left half written."""

import os
import sys
from pathlib import Path

from edge.errors import EdgePoseError, UsageError


def check_file(path: Path, option: str) -> None:
    """Make sure that the file can be written when the time comes.

    Raises:
        UsageError: it is a folder, or its folder is missing or not writable; names the option that asked for it.
    """
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"{option} {path}: expected a file in an existing folder that can be written")


def check_folder(path: Path, shown: str) -> None:
    """Make sure that the folder of a file that will be written is there.

    Raises:
        UsageError: it is not; names the file as `shown`.
    """
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{shown}: there is no such folder")


def give_up_stdout() -> None:
    """Nobody reads our output any more (as after `| head`): what else is printed goes nowhere, without a complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_file(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: a reader never sees half of it.

    Raises:
        EdgePoseError: the disk is full, or the folder has gone.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise EdgePoseError(f"{path}: cannot be written: {error.strerror}") from None
