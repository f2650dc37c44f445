"""Standard output and error of the command line: they take any name, and their end is not the end of the command.

Where standard output breaks (a full disk, a reader who has gone, a shell's `>&-`), whatever a command does besides
printing goes on: files are written, messages published. What can only print asks `stdout_is_lost`. A reader who has
gone, as after `| head`, has read what they wanted and is no failure; the rest is said at once, and is status 1.
"""

import codecs
import errno
import io
import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# How a name is shown that a stream's encoding cannot hold.
SPELLED: Final = "edge-pose.spelled"


class _Stream(io.FileIO):
    """A file descriptor on which a write that fails is the last: what follows goes nowhere.

    Args:
        number: the descriptor.
        is_output: standard output, whose loss is said.

    Attributes:
        failure: why; None is that all is well.
    """

    def __init__(self, number: int, *, is_output: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self.failure: OSError | None = None
        self._is_output = is_output

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.fail(error)
            return memoryview(data).nbytes

    def fail(self, error: OSError) -> None:
        """Write no more."""
        self.failure = error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if self._is_output and error.errno != errno.EPIPE:
            reason = "it is closed" if error.errno == errno.EBADF else error.strerror
            complain(f"standard output cannot be written: {reason}")


def claim() -> None:
    """Take over standard output and error, unless somebody who calls us has put streams of their own in their place."""
    codecs.register_error(SPELLED, _spell)
    if sys.stdin is None:
        _reserve(os.O_RDONLY)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _claimed(sys.stdout, is_output=True)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _claimed(sys.stderr, is_output=False)


def finish(status: int) -> int:
    """Hand on what was printed last; returns the exit status, which is not 0 where standard output was lost."""
    sys.stdout.flush()
    failure = _failure()
    return 1 if status == 0 and failure is not None and failure.errno != errno.EPIPE else status


def stdout_is_lost() -> bool:
    """Whether nothing that is printed arrives any more."""
    return _failure() is not None


def lose_stdout(error: OSError) -> None:
    """Take note that standard output cannot be written, which showed when it was written past Python's stream.

    Raises:
        OSError: the error, where nobody has claimed the stream.
    """
    raw = _stdout()
    if raw is None:
        raise error
    raw.fail(error)


def write_stdout(content: bytes) -> None:
    """Write to standard output what is UTF-8 by its nature, whatever the terminal's encoding is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def as_utf8(name: str) -> str:
    r"""A file's name as a document in UTF-8 can hold it: a byte that is no UTF-8 is written as `\xff`.

    A backslash in front of what would look like that is `\x5c`, so that the bytes of a name can be had again:
    `re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), written.encode())`.
    """
    return re.sub(r"[\udc80-\udcff]|\\(?=x[0-9a-f]{2})", lambda found: _spelled(found[0]), name)


def is_utf8(name: str) -> bool:
    """Whether a file's name is UTF-8, which most are; OpenCV, JSON and URLs hold no other."""
    return not any("\udc80" <= character <= "\udcff" for character in name)


def complain(text: str) -> None:
    """Say on standard error what went wrong."""
    from edge.service import level_prefix

    print(f"{level_prefix(logging.ERROR)}edge-pose: {text}", file=sys.stderr)


def _failure() -> OSError | None:
    raw = _stdout()
    return None if raw is None else raw.failure


def _stdout() -> _Stream | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Stream) else None


def _claimed(stream: TextIO | None, *, is_output: bool) -> TextIO:
    encoding, by_line = "utf-8", False
    if stream is None:  # closed: what is printed is lost, and that of standard output not without a word
        number = _reserve(os.O_RDONLY if is_output else os.O_WRONLY)
    else:
        number, encoding = stream.fileno(), stream.encoding
        by_line = bool(stream.line_buffering) or bool(getattr(stream, "write_through", False))
    raw = io.BufferedWriter(_Stream(number, is_output=is_output))
    return io.TextIOWrapper(raw, encoding, SPELLED, line_buffering=by_line)


def _reserve(how: int) -> int:
    """Open a file that takes the lowest free number: else the next one, a model or a socket, would be printed to."""
    number = os.open(os.devnull, how)
    os.set_inheritable(number, True)
    return number


def _spell(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks, and where it goes on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(map(_spelled, found)), error.end


def _spelled(character: str) -> str:
    if character == "\\":
        return r"\x5c"
    if "\udc80" <= character <= "\udcff":  # how Python carries a byte of a file's name that is no text (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("ascii", "backslashreplace").decode()
