"""Messages on standard output, for `run --print`, where somebody may read slowly, pause, or stop reading."""

import logging
import os
import select
import sys
import threading
import time
from collections import deque
from typing import Final, Self

from edge.messages import PoseMessage
from edge.streams import lose_stdout

_log = logging.getLogger(__name__)

# Lines that wait for the reader: at 30 a second a pause of eight seconds, less than a megabyte.
MOST_LINES: Final = 256
# A stop is noticed this fast while the reader holds everything up.
POLL_S: Final = 0.1
# A line that takes longer to write is held up by its reader.
STUCK_S: Final = 0.1
# How long the reader has for the last lines, once the end is wanted.
LAST_LINES_S: Final = 1.0


class LinePrinter:
    """Writes each message as a line, in a thread of its own: a pipe that is full blocks that thread and nothing else.

    A context manager, and a consumer of `edge.pipeline`. When too many lines wait, a recording waits for its reader,
    who gets every line; of a live source the oldest lines are left out, and that is said. Where standard output cannot
    be written, the end is wanted: whoever asked for lines wants no run that nobody sees.

    Args:
        stop: set when the end is wanted: then nobody is waited for.
        live: whether frames come at their own pace.
    """

    def __init__(self, stop: threading.Event, *, live: bool) -> None:
        # Not sys.stdout itself: a thread that is blocked in its buffer would hold up the interpreter's end.
        self._output = sys.stdout.fileno()
        self._live = live
        self._stop = stop
        self._changed = threading.Condition()
        # All below is guarded by _changed.
        self._lines: deque[bytes] = deque()
        self._left_out = 0
        self._error: OSError | None = None
        self._ending = False
        self._since_s: float | None = None  # when the writing of a line began; written by the thread alone
        self._thread = threading.Thread(target=self._run, name="printing", daemon=True)
        self._thread.start()

    def __call__(self, _message: PoseMessage, payload: bytes) -> None:
        """Have a message written."""
        with self._changed:
            while self._is_full() and not self._live and not self._stop.is_set():
                self._changed.wait(POLL_S)
            if self._error is not None:
                return
            if self._is_full():
                self._lines.popleft()
                self._left_out += 1
                if self._live and self._left_out == 1:
                    _log.warning("standard output is read more slowly than messages come: the oldest are left out")
            self._lines.append(payload + b"\n")
            self._changed.notify_all()

    def _is_full(self) -> bool:
        return len(self._lines) >= MOST_LINES and self._error is None

    def close(self) -> None:
        """Wait for the last lines to be written, as long as that makes sense."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        while self._thread.is_alive() and not self._live and not self._stop.is_set():
            self._thread.join(POLL_S)
        self._thread.join(LAST_LINES_S)
        with self._changed:
            left_out = self._left_out + len(self._lines) + self._thread.is_alive()  # which has one in hand
        if left_out and self._error is None:
            _log.warning("%d lines were left out: standard output was not read in time", left_out)

    def _may_log(self, _record: logging.LogRecord) -> bool:
        """Not while the lines are held up and the log goes the same way: whoever logs would be held up behind them."""
        since_s = self._since_s
        return since_s is None or time.monotonic() - since_s < STUCK_S

    def __enter__(self) -> Self:
        # A terminal, or `2>&1`.
        if sys.stderr is not None and os.path.samestat(os.fstat(self._output), os.fstat(sys.stderr.fileno())):
            for handler in logging.getLogger().handlers:
                handler.addFilter(self._may_log)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._error is not None:
            lose_stdout(self._error)

    def _run(self) -> None:
        try:
            while (line := self._next()) is not None:
                self._since_s = time.monotonic()
                self._write(line)
                self._since_s = None
        except OSError as error:
            self._since_s = None
            with self._changed:
                self._error = error
                self._changed.notify_all()
            self._stop.set()

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._output, line) :]
            except BlockingIOError:  # another program on the same terminal made it so
                select.select([], [self._output], [])

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._lines and not self._ending:
                self._changed.wait()
            line = self._lines.popleft() if self._lines else None
            self._changed.notify_all()
            return line
