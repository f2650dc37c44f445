"""Changes that wait for the broker: bounded, in order, each with its own time; and the last word on each topic."""

import threading
from collections import OrderedDict, deque

from edge.mqtt import Message

# A person who comes and goes every 7 s makes 256 changes of presence and count in a quarter of an hour.
LIMIT = 256


class Outbox:
    """Messages of QoS 1 until the broker has acknowledged them. `put` may be called from any thread.

    When more wait than the limit, the oldest is thrown away: the newest says how things are.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[Message] = deque()
        self._leaving: Message | None = None
        self._sent: OrderedDict[int, Message] = OrderedDict()
        self._latest: dict[str, Message] = {}

    def put(self, message: Message) -> None:
        """Have a message sent, after those that wait already."""
        with self._lock:
            self._waiting.append(message)
            if message.retain:
                self._latest[message.topic] = message
            if len(self._waiting) > self._limit:
                self._waiting.popleft()
                self.dropped += 1

    def next(self) -> Message | None:
        """The message to send now, or None. Follow with `sent`, or after a failure with `reconnected`."""
        with self._lock:
            self._leaving = self._waiting.popleft() if self._waiting else None
            return self._leaving

    def sent(self, message_id: int) -> None:
        """What `next` gave is on its way under this id."""
        with self._lock:
            if self._leaving is not None:
                self._sent[message_id] = self._leaving
            self._leaving = None

    def settled(self, message_id: int) -> Message | None:
        """The broker has taken or refused a message; None where the id is not one of ours."""
        with self._lock:
            return self._sent.pop(message_id, None)

    @property
    def in_flight(self) -> int:
        """How many are on their way."""
        return len(self._sent)

    def reconnected(self) -> None:
        """Put back what was not acknowledged, in order, and add the latest word on every topic that is not in it.

        A broker that was restarted may have forgotten what it retained.
        """
        with self._lock:
            if self._leaving is not None:
                self._waiting.appendleft(self._leaving)
                self._leaving = None
            self._waiting.extendleft(reversed(self._sent.values()))
            self._sent.clear()
            waiting = {message.topic for message in self._waiting}
            self._waiting.extend(message for topic, message in self._latest.items() if topic not in waiting)
