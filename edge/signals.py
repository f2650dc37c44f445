"""Signals that end a program at once, where it has something to put away first."""

import signal
import sys
from types import FrameType
from typing import Final

# What `kill` and a service manager send, and what arrives when a terminal or an ssh connection goes.
ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


def clean_up_on_signals() -> None:
    """Have SIGTERM and SIGHUP unwind the main thread as Ctrl-C does, and end with the status that a shell gives them.

    By default they end the process where it stands: programs and folders that it made would stay.
    """
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has SIGHUP ignored: that stays so
            signal.signal(number, _unwind)


def _unwind(number: int, _frame: FrameType | None) -> None:
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)  # a second one must not cut off what the first began
    sys.exit(128 + number)
