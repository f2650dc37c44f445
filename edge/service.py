"""Life under systemd: ready, alive, status and stopping, told over NOTIFY_SOCKET (sd_notify(3)).

What feeds the watchdog. The loop runs the camera, both models and the hand-over to the publisher in one thread, and
`turn` is called in that thread each time it comes round: the frame before, if there was one, is finished. A model or
delegate that hangs keeps the loop from coming round, so nothing is fed and systemd ends the process. No timer and no
other thread feeds. A turn without a frame counts as well, because a camera that is unplugged, a stream whose server is
away, a loop that is switched off or held back by `max_fps` are no reason to restart; except when the thread that reads
the camera has not come back from its driver for longer than any of its calls may take (`Source.hung`): only the end of
the process gets rid of such a call. What the broker does plays no part.

Without NOTIFY_SOCKET nothing here does anything, so the same code runs in a terminal.
"""

import faulthandler
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.pipeline import Controls

_log = logging.getLogger(__name__)

# Seconds between two STATUS lines; the frame rate in it is over this time.
STATUS_INTERVAL_S: Final = 5.0
# How long a service manager that does not read may hold up the one message that must not be lost.
READY_TIMEOUT_S: Final = 2.0
# The watchdog is fed this often within its time.
FEEDS_PER_WATCHDOG: Final = 6
# A run of this length was a good one: the next failure is the first again.
GOOD_RUN_S: Final = 60.0
# Restarts that come at once (after the unit's RestartSec); from then on the wait doubles, up to the longest.
QUICK_RESTARTS: Final = 3
LONGEST_DELAY_S: Final = 60.0
# sd-daemon(3): a line that starts with <N> has syslog level N.
SYSLOG_LEVELS: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
SYSLOG_DEBUG: Final = 7


class Notifier:
    """The socket on which systemd listens; without one every message goes nowhere.

    Args:
        environment: variables to look at; None is the process's own.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(environment.get("WATCHDOG_USEC", "0")) / 1e6 if for_us else 0.0
        self._failed = False

    @property
    def active(self) -> bool:
        """Whether somebody listens."""
        return bool(self._address)

    def send(self, **fields: str) -> None:
        """Send `NAME=value` lines in one datagram. A full socket loses it; only READY waits a little for room."""
        if not self._address:
            return
        text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in fields.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.settimeout(READY_TIMEOUT_S if "READY" in fields else 0)
            try:
                notify.sendto(text.encode(), self._address)
            except OSError as error:
                if not self._failed:
                    _log.warning("systemd cannot be told %s: %s", ", ".join(fields), error)
                self._failed = True


@dataclass(frozen=True, slots=True)
class LoopState:
    """How the loop is, seen from outside it.

    Attributes:
        hung: the camera's driver does not return.
        stalled: the source is open and has given no picture for a while.
        enabled: the loop is not switched off by command.
        broker: the state of the connection, and why it is so where it is not as it should be; its text is made only
            for the status line.
    """

    hung: bool = False
    stalled: bool = False
    enabled: bool = True
    broker: object = ""


class Service:
    """What the service manager is told while the loop runs. Called by the loop's thread only.

    Args:
        notifier: where to; None looks at the process's environment.
        runtime_directory: where the number of restarts is kept; None is systemd's RUNTIME_DIRECTORY, if any.
    """

    def __init__(self, notifier: Notifier | None = None, runtime_directory: Path | None = None) -> None:
        self._notifier = notifier or Notifier()
        given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        directory = runtime_directory or (Path(given) if given else None)
        self._restarts = directory / "restarts" if directory and self.active else None
        self._ready = False
        self._ready_at_s = 0.0
        self._fed_at_s = float("-inf")
        self._status_at_s = float("-inf")
        self._frames = 0
        self._frames_at_status = 0
        self._people = 0

    @property
    def active(self) -> bool:
        """Whether this process was started by a service manager that wants to be told."""
        return self._notifier.active

    def delay_start(self, controls: Controls) -> bool:
        """Count this start; after several that failed, wait before the next attempt, longer each time.

        systemd 252 (Bookworm) restarts at one pace only. The count is in memory (/run), and gone after a wanted stop.

        Returns:
            False if the stop came during the wait.
        """
        if self._restarts is None:
            return True
        try:
            failed = int(self._restarts.read_text())
        except (OSError, ValueError):
            failed = 0
        try:
            self._restarts.write_text(str(failed + 1))
        except OSError as error:  # a full /run is no reason not to start
            _log.warning("%s: %s: restarts are not counted", self._restarts, error.strerror)
        delay_s = restart_delay_s(failed)
        if delay_s:
            _log.warning("%d starts have failed; waiting %.0f s before the next", failed, delay_s)
            self._notifier.send(
                STATUS=f"waiting {delay_s:.0f} s after {failed} failed starts",
                EXTEND_TIMEOUT_USEC=str(int((delay_s + LONGEST_DELAY_S) * 1e6)),
            )
            if controls.stop.wait(delay_s):
                self._forget_restarts()
        return not controls.stop.is_set()

    def no_camera(self, reason: str) -> None:
        """The camera did not open; another attempt follows. The attempt came back, so the process is alive."""
        self._notifier.send(STATUS=f"waiting for the camera: {reason}")
        self._become_ready()
        self._feed()

    def frame_finished(self, people: int) -> None:
        """A frame has gone all the way, with so many people in it."""
        self._frames += 1
        self._people = people

    def turn(self, loop: LoopState) -> None:
        """The loop has come round; see the module's page."""
        if not self.active:
            return
        now_s = time.monotonic()
        if now_s - self._status_at_s >= STATUS_INTERVAL_S or (not self._ready and self._frames):
            self._send_status(loop, now_s)
        if self._frames or not loop.enabled:
            self._become_ready()
        if not loop.hung:
            self._feed()
        if self._ready and now_s - self._ready_at_s >= GOOD_RUN_S:
            self._forget_restarts()

    def stopping(self) -> None:
        """The end has begun, in an orderly way."""
        self._forget_restarts()
        self._notifier.send(STOPPING="1", STATUS="stopping")

    def _forget_restarts(self) -> None:
        if self._restarts is not None:
            self._restarts.unlink(missing_ok=True)
            self._restarts = None

    def _send_status(self, loop: LoopState, now_s: float) -> None:
        elapsed_s = now_s - self._status_at_s
        people = f"{self._people} {'person' if self._people == 1 else 'people'}"
        if loop.hung:
            doing = "waiting for the camera: its driver does not answer"
        elif loop.stalled:
            doing = "waiting for the camera: it gives no pictures"
        elif not loop.enabled:
            doing = "switched off by command"
        elif not self._frames:
            doing = "starting: no frame yet"
        elif not self._ready:  # right after the first frame, which makes no rate
            doing = f"running: {people}"
        else:
            doing = f"running: {(self._frames - self._frames_at_status) / elapsed_s:.1f} fps, {people}"
        self._notifier.send(STATUS=f"{doing}, broker {loop.broker}")
        self._status_at_s, self._frames_at_status = now_s, self._frames

    def _become_ready(self) -> None:
        if not self._ready:
            self._ready = True
            self._ready_at_s = time.monotonic()
            self._notifier.send(READY="1")

    def _feed(self) -> None:
        now_s = time.monotonic()
        if self._notifier.watchdog_s and now_s - self._fed_at_s >= self._notifier.watchdog_s / FEEDS_PER_WATCHDOG:
            self._fed_at_s = now_s
            self._notifier.send(WATCHDOG="1")


def restart_delay_s(failed: int) -> float:
    """Seconds to wait before a start that follows so many failed ones."""
    if failed < QUICK_RESTARTS:
        return 0.0
    return min(2.0 ** (failed - QUICK_RESTARTS + 1), LONGEST_DELAY_S)


def _heard_by_journal() -> bool:
    """Whether standard error is the stream that systemd gave; a desktop's terminal may inherit the variable alone."""
    status = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def level_prefix(level: int) -> str:
    """What a line on standard error starts with for the journal to know its level; empty if nobody reads it so."""
    if not _heard_by_journal():
        return ""
    return f"<{next((number for least, number in SYSLOG_LEVELS if level >= least), SYSLOG_DEBUG)}>"


class JournalFormatter(logging.Formatter):
    """Log lines as the journal wants them: it knows the time and the program, and takes the level from `<N>`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with the level at the start of each of its lines."""
        prefix = level_prefix(record.levelno)
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def log_to_journal() -> None:
    """Have the log carry levels, and the watchdog's SIGABRT print what each thread was doing; only under systemd."""
    if not _heard_by_journal():
        return
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JournalFormatter("%(message)s"))
    faulthandler.enable()
