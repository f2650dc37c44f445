"""What goes over MQTT, in either direction: a message with what MQTT says about it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish.

    Attributes:
        topic, payload, qos, retain: as MQTT has them.
        expiry_s: seconds after which a broker throws it away undelivered (MQTT 5); None is never.
        content_type: MIME type (MQTT 5).
        time_s: seconds since 1970 when what it tells happened, sent as user property `time` (MQTT 5).
    """

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 0
    retain: bool = False
    expiry_s: int | None = None
    content_type: str = ""
    time_s: float | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the broker; `time_s` as in `Message`; `retained` is whether it was waiting there."""

    topic: str
    payload: bytes
    retained: bool
    time_s: float | None = None
