"""What may be set over MQTT while the loop runs: `enabled`, `max_fps`, `redetect`. Everything else is refused."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from edge.errors import MessageError
from edge.topics import OFF, ON

# No command is longer; whatever is, is not looked into.
MAX_PAYLOAD = 64
MAX_FPS = 1000.0

logger = logging.getLogger(__name__)


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer on `set/<name>/result`: the value in force now, or why the command is refused."""

    ok: bool
    value: bool | float | None = None
    error: str = ""


class Target(Protocol):
    """What commands change: the loop's `pipeline.Controls`. The loop reads it before each frame.

    Attributes:
        enabled: whether frames are looked at.
        max_fps: processed frames per second at most; 0 is no limit.
        redetect: set to forget the people who are followed and look anew; the loop clears it.
    """

    enabled: bool
    max_fps: float
    redetect: threading.Event


class Commands:
    """Carries commands out on a target. Called in the network's thread."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._commands: dict[str, Callable[[bytes], bool | float]] = {
            "enabled": self._set_enabled,
            "max_fps": self._set_max_fps,
            "redetect": self._set_redetect,
        }

    def handle(self, name: str, payload: bytes) -> Result:
        """Carry a command out, or refuse it. Never raises, whatever came."""
        command = self._commands.get(name)
        if command is None:
            return Result(ok=False, error=f"unknown command {name[:40]!r}; known are {', '.join(self._commands)}")
        if len(payload) > MAX_PAYLOAD:
            return Result(ok=False, error=f"{len(payload)} bytes; no command has more than {MAX_PAYLOAD}")
        try:
            return Result(ok=True, value=command(payload))
        except MessageError as error:
            return Result(ok=False, error=f"given {payload.decode(errors='replace')!r}; {error}")

    def _set_enabled(self, payload: bytes) -> bool:
        values = {ON: True, OFF: False, b"true": True, b"false": False}
        if payload not in values:
            raise MessageError("expected ON, OFF, true or false")
        if self.target.enabled != values[payload]:
            logger.info("set over MQTT: enabled = %s", values[payload])
        self.target.enabled = values[payload]
        return self.target.enabled

    def _set_max_fps(self, payload: bytes) -> float:
        try:
            value = msgspec.json.decode(payload, type=float)
        except (msgspec.DecodeError, UnicodeDecodeError):
            value = -1.0
        if not 0 <= value <= MAX_FPS:
            raise MessageError(f"expected a number from 0 (no limit) to {MAX_FPS:.0f}")
        if self.target.max_fps != value:
            logger.info("set over MQTT: max_fps = %g", value)
        self.target.max_fps = value
        return self.target.max_fps

    def _set_redetect(self, payload: bytes) -> bool:
        del payload  # a button has nothing to say
        self.target.redetect.set()
        return True
