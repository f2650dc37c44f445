"""Files that commands write: looked at before any work is done, and never left half written.

A file is replaced as a whole, where a link leads. What is no file (a pipe, a device, the shell's `>(...)`) is written
into and stays what it is.
"""

import contextlib
import fcntl
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from edge.errors import EdgePoseError, UsageError
from edge.streams import write_stdout

# Linux follows no more links than this.
MOST_LINKS: Final = 40
# Of a file's name, what the name of its unfinished copy begins with: both must fit into 255 bytes.
KEPT_OF_NAME: Final = 50


def check_file(path: Path, option: str) -> None:
    """Make sure that the file can be written when the time comes; nothing is opened, made or changed.

    Raises:
        UsageError: it is a folder, or it or its folder is missing or not writable; names the option that asked for it.
    """
    if not _may_be_written(_followed(path)):
        raise UsageError(f"{option} {path}: expected a file in an existing folder that can be written")


def check_folder(path: Path, shown: str) -> None:
    """Make sure that the folder of a file that will be written is there.

    Raises:
        UsageError: it is not; names the file as `shown`.
    """
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{shown}: there is no such folder")


def write_file(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: a reader never sees half of it, and what was there stays until then.

    Raises:
        EdgePoseError: the disk is full, or the folder has gone.
    """
    target = _followed(path)
    try:
        if _is_open(target):
            _write_open(int(target.name), content)
        elif target.exists() and not target.is_file():
            target.write_bytes(content)
        else:
            _replace(target, content)
    except OSError as error:
        raise EdgePoseError(f"{path}: cannot be written: {error.strerror}") from None


def _followed(path: Path) -> Path:
    """Where a path's links lead; of a file that is open no further, as /dev/stdout is: it may have no name any more."""
    for _ in range(MOST_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        if _is_open(path) or not os.path.islink(path):  # noqa: PTH114 -- Path.is_symlink fails in a closed folder
            break
        path = path.parent / path.readlink()
    return path


def _is_open(path: Path) -> bool:
    """Whether a path, its links followed, is one of this process's open files."""
    return path.parent == Path(f"/proc/{os.getpid()}/fd") and path.name.isdecimal()


def _may_be_written(target: Path) -> bool:
    if _is_open(target):
        try:
            return fcntl.fcntl(int(target.name), fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        except OSError:  # closed
            return False
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return os.access(target.parent, os.W_OK | os.X_OK)
    except OSError:
        return False
    if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):  # a link that is left leads to itself
        return False
    return os.access(target, os.W_OK) and (not stat.S_ISREG(mode) or os.access(target.parent, os.W_OK | os.X_OK))


def _write_open(number: int, content: bytes) -> None:
    """Write to an open file from where it is, after what was printed there before."""
    if number == 1:
        write_stdout(content)
        return
    with open(number, "wb", closefd=False) as file:
        file.write(content)


def _replace(target: Path, content: bytes) -> None:
    partial = target.with_name(f"{target.name[:KEPT_OF_NAME]}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            file.write(content)
        with contextlib.suppress(OSError):  # nothing was there, or the file system knows no owners
            before = target.stat()
            os.chown(partial, before.st_uid, before.st_gid)
            partial.chmod(stat.S_IMODE(before.st_mode))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
