"""Read a broker from Python: a thread that puts what arrives into a queue."""

import logging
import os
import queue
import threading
from collections.abc import Iterable
from typing import Self

from edge.config import MqttSettings
from edge.errors import MessageError
from edge.link import Link, LinkState
from edge.messages import PoseMessage, decode_pose
from edge.mqtt import Connection
from edge.mqtt_message import Received

logger = logging.getLogger(__name__)


class Subscriber:
    """Subscribe to topic filters and stay connected. `messages` holds what came; when full, the oldest goes.

    `subscribed` is set once the broker has answered the first subscriptions: nothing published later is missed.
    `refused` says what it does not let us read, if anything.

    Args:
        settings: broker, user name, password file and TLS; the device's name is not used.
        filters: MQTT topic filters.
        limit: messages held at most.

    Raises:
        ConfigError: the broker's URL, the password file or a certificate.
    """

    def __init__(self, settings: MqttSettings, filters: Iterable[str], limit: int = 1000) -> None:
        self.messages: queue.Queue[Received] = queue.Queue(limit)
        self.dropped = 0
        self.refused = ""
        self.subscribed = threading.Event()
        self._unanswered: set[int] = set()
        self._filters = list(filters)
        self._link = Link(settings, f"edge-pose-reader-{os.getpid()}-{id(self):x}", self)

    def start(self) -> None:
        """Connect in the background."""
        self._link.start()

    def close(self) -> None:
        """Disconnect, in at most 1 s."""
        self._link.close()

    @property
    def state(self) -> LinkState:
        """How the connection is."""
        return self._link.state

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, timeout_s: float) -> Received | None:
        """The next message, or None if none comes in time."""
        try:
            return self.messages.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def get_pose(self, timeout_s: float) -> PoseMessage | None:
        """The next pose message, or None if none comes in time. What is not one is logged and left out."""
        received = self.get(timeout_s)
        while received is not None:
            try:
                return decode_pose(received.payload)
            except MessageError as error:
                logger.warning("%s: %s", received.topic, error)
            received = self.get(timeout_s)
        return None

    # What follows is called by the link, in its thread.

    def connected(self, connection: Connection) -> None:
        """Subscribe."""
        self.refused = ""
        self._unanswered = {connection.subscribe(topic_filter, qos=1) for topic_filter in self._filters}

    def received(self, message: Received) -> None:
        """Queue what came."""
        if self.messages.full():
            self.dropped += 1
            self.get(0)
        self.messages.put_nowait(message)

    def work(self, connection: Connection) -> None:
        """See what the broker says to the subscriptions."""
        for message_id, reason in connection.acknowledged:
            self._unanswered.discard(message_id)
            if reason:
                self.refused = f"{connection.address}: a subscription is refused: {reason}"
                logger.warning("%s", self.refused)
        connection.acknowledged.clear()
        if not self._unanswered:
            self.subscribed.set()

    def closing(self, connection: Connection) -> None:
        """Nothing to say."""
