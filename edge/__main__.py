"""The commands' way in, `edge-pose` and `python -m edge` alike: Ctrl-C is quiet from the first moment on."""

import os
import signal
import sys
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
        return cli.main()
    except KeyboardInterrupt:
        return INTERRUPTED


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
