"""The commands' way in, `edge-pose` and `python -m edge` alike: Ctrl-C is quiet from the first moment on."""

import contextlib
import os
import signal
import sys
import threading
from types import FrameType

# What a shell says of a program that SIGINT ended.
INTERRUPTED = 128 + signal.SIGINT


def main() -> int:
    """Import the commands, which takes tenths of a second, and run the one that is asked for."""
    # A KeyboardInterrupt out of an import comes with a page of other people's code, and extension modules make other
    # errors of it. Nothing is open yet, so the process may end where it stands. A shell has a background job ignore
    # SIGINT: that stays so.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, _end)
    from edge import cli

    try:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return _ended(cli.main())
    except KeyboardInterrupt:
        return _ended(INTERRUPTED)


def _ended(status: int) -> int:
    """The status; but while a thread is still in a driver's call, the process ends here.

    Come back while the interpreter is taken down, the thread would be ended inside of C++, which ends the process by
    SIGABRT for it.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.flush()
        os._exit(status)
    return status


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
