"""The loop's camera: a stop ends its opening. A service waits for a missing one, and leaves one that does not close."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from time import monotonic
from typing import Final

from edge.camera import Source, open_source
from edge.config import CameraSettings
from edge.errors import CameraHungError, MissingDependencyError, SourceError, UnreadableMediaError
from edge.pipeline import Controls
from edge.service import Service

_log = logging.getLogger(__name__)

# Pauses between attempts to open a camera, doubled up to the longest.
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 5.0
# A stopped service has 3 s in all; a camera that takes longer to close is closed by the end of the process.
CLOSE_TIMEOUT_S: Final = 1.0
# A stop is noticed this fast during an attempt and a pause.
POLL_S: Final = 0.1
# An attempt that takes longer is a camera that is not there; one that is takes a second or two.
PATIENCE_S: Final = 5.0


@contextmanager
def opened(
    settings: CameraSettings, controls: Controls, service: Service, *, waiting: Callable[[], None] = lambda: None
) -> Iterator[Source | None]:
    """The source that the settings name, open; closed again at the end of the block.

    Under a service manager a camera or stream that does not open is tried again until it does; elsewhere, and for
    errors that time does not mend, the error is raised. None is a stop before the camera was there.

    Args:
        settings: [camera].
        controls: a stop ends the wait.
        service: whose camera it is.
        waiting: called again and again while a camera is missing.

    Raises:
        EdgePoseError: see `edge.camera.open_source`.
    """
    if not service.active:
        opening = _Attempt(settings)
        opening.start()
        _await(opening, controls)
        if opening.error is not None and not controls.stop.is_set():
            raise opening.error
        with opening.source or nullcontext() as source:
            yield source
        return
    waited_for = _wait_for(settings, controls, service, waiting)
    try:
        yield waited_for
        service.stopping()
    finally:
        if waited_for is not None:
            closing = threading.Thread(target=waited_for.close, name="camera closing", daemon=True)
            closing.start()
            closing.join(CLOSE_TIMEOUT_S)


def _wait_for(
    settings: CameraSettings, controls: Controls, service: Service, waiting: Callable[[], None]
) -> Source | None:
    pause_s = FIRST_PAUSE_S
    said = ""
    while not controls.stop.is_set():
        attempt = _Attempt(settings)
        attempt.start()
        _await(attempt, controls, waiting, 0.0 if said else PATIENCE_S)
        if attempt.source is not None:
            return attempt.source
        if attempt.error is not None:
            if not _may_mend(attempt.error):
                raise attempt.error
            if said != str(attempt.error):  # once, not at every attempt of a night
                said = str(attempt.error)
                _log.warning("%s; trying again until it opens", said)
            if isinstance(attempt.error, CameraHungError):
                # A second attempt would only wait behind it. The watchdog is not fed meanwhile: if the driver never
                # returns, nothing but a new process helps.
                _await(attempt.error.thread, controls, waiting)
            service.no_camera(said)
        until_s = monotonic() + pause_s
        while (left_s := until_s - monotonic()) > 0 and not controls.stop.wait(min(left_s, POLL_S)):
            waiting()
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return None


def _await(
    thread: threading.Thread, controls: Controls, waiting: Callable[[], None] = lambda: None, patience_s: float = 0.0
) -> None:
    """Wait for the end of a thread or for a stop; `waiting` is called again and again once that takes long."""
    began_s = monotonic()
    while thread.is_alive() and not controls.stop.is_set():
        thread.join(POLL_S)
        if monotonic() - began_s > patience_s:
            waiting()


def _may_mend(error: Exception) -> bool:
    """Whether the same settings may work later: a camera is plugged in, a server comes back, a disk is mounted."""
    return isinstance(error, SourceError) and not isinstance(error, UnreadableMediaError | MissingDependencyError)


class _Attempt(threading.Thread):
    """Opens the source in a thread of its own, since a driver may not return and a stop must not wait for it."""

    def __init__(self, settings: CameraSettings) -> None:
        super().__init__(name="camera opening", daemon=True)
        self.source: Source | None = None
        self.error: Exception | None = None
        self._settings = settings

    def run(self) -> None:
        try:
            self.source = open_source(self._settings)
        except Exception as error:  # noqa: BLE001 -- raised again, or answered, in the thread that waits
            self.error = error
