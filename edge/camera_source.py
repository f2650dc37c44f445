"""What every source of frames promises, whatever it is made of.

The contract, which `tests/test_camera_contract.py` runs over every source that can exist on the machine:

* **Order.** `number` counts up; a gap means frames that nobody saw. A live source keeps one frame, the newest: whoever
  is slow loses frames, never time, so the age of a frame handed over is at most one frame interval of the source plus
  the time it waited for the caller. A file or folder that is not live gives every frame.
* **Time.** `time_s` strictly increases within a run, over reopening and `loop` too.
* **Colour.** `Frame.color` states the order of the channels; every source here gives BGR.
* **Orientation.** Rotation and mirroring are stated in `Frame.orientation`; the pixels are not touched.
* **The end.** A file, an image or a folder ends its iteration. A live source never ends by itself: a loss is answered
  by opening it again, with growing, jittered pauses, until somebody calls `close`.
* **Silence.** A live source that gives no frame for `stall_timeout` seconds is `stalled`: one `stall` in the log, and
  one `recovered` with the next frame.
* **Secrets.** `name` holds no password: it is what logs, errors and messages may show.
* **Cleaning up.** `close` may be called twice, from any thread and in the middle of a read; afterwards no thread, file
  handle or camera is held.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from edge.pose import Frame

HIDDEN = "***"
# Some cameras take the password in the path or the query: rtsp://host/user=admin&password=secret, ?token=secret.
_SECRET = re.compile(
    r"((?:pass(?:word|wd|phrase)?|pwd|token|key|secret|auth\w*|user(?:name)?|usr)=)[^&;/#]*", re.IGNORECASE
)
# What must be a URL without its scheme, or with a mistyped one: user:password@host. Names of libcamera's cameras hold
# an `@` too, and a path to a file may.
_LOGIN = re.compile(r"(?!picamera2:|[/.~])[^@]*:[^@]*@")


class Source(ABC):
    """A source of frames: a context manager and an iterator of `Frame`. The module's page holds the contract.

    Attributes:
        name: what the source is called in logs and messages; without credentials.
        details: what it gives, as found out on opening: size, format, rate.
        live: whether frames come at their own pace, so that late callers lose some.
        pictures: whether each frame is a picture by itself, so that nobody is followed from one to the next.
        file: of a folder of images, the name of the one handed over last.
        dropped: frames that arrived and that nobody saw.
        stalls: how often no frame came for `stall_timeout` seconds.
        reopened: how often a lost source was opened again with success.
    """

    name: str
    details: str = ""
    live: bool = False
    pictures: bool = False
    file: str = ""
    dropped: int = 0
    stalls: int = 0
    reopened: int = 0

    @property
    def stalled(self) -> bool:
        """Whether a live source has given no frame for `stall_timeout` seconds."""
        return False

    @property
    def hung(self) -> bool:
        """Whether a camera's driver has not returned for longer than any call may take; only a new process helps."""
        return False

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether no frame will ever come again: the end of a file, or `close`."""

    @abstractmethod
    def read(self, timeout_s: float | None = None) -> Frame | None:
        """The next frame; of a live source the newest one not yet handed over.

        Args:
            timeout_s: how long to wait; None waits for as long as it takes.

        Returns:
            None after `timeout_s` without a frame, or at the end; `ended` tells which.

        Raises:
            SourceError: a file that cannot be read any further. A live source raises only on opening.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of everything. Harmless when called again."""

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        frame = self.read()
        if frame is None:
            raise StopIteration
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def redact(source: str) -> str:
    """The source as it may be shown: credentials in a URL replaced by `***`.

    Everything up to the last `@` is taken for credentials, whatever stands in between: a password with a `/`, `?`, `#`
    or `@` of its own makes no valid URL, and is still a password. So does a URL whose `://` is mistyped.
    """
    scheme, slashes, rest = source.partition("://")
    if not slashes:
        return f"{HIDDEN}@{source.rpartition('@')[2]}" if _LOGIN.match(source) else source
    _, at, place = rest.rpartition("@")
    try:
        parts = urlsplit(f"{scheme}://{place}")
    except ValueError:  # for instance an unfinished IPv6 address: show no more than the scheme
        return f"{scheme}://{HIDDEN}"
    netloc = f"{HIDDEN}@{parts.netloc}" if at else parts.netloc
    query = re.sub(r"=[^&;]*", f"={HIDDEN}", parts.query)
    return urlunsplit((parts.scheme, netloc, _SECRET.sub(rf"\1{HIDDEN}", parts.path), query, ""))
