"""Changes that wait for the broker: bounded, in order, each with its own time; and the last word on each topic."""

import threading
from collections import OrderedDict, deque

from edge.mqtt_message import Message

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
        self._refused: deque[Message] = deque(maxlen=limit)
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
        """The message to send now, or None. Follow with `sent`, or after a failure with `reconnected`.

        What would overtake a refused message of its topic is kept with that.
        """
        with self._lock:
            closed = {message.topic for message in self._refused}
            while self._waiting:
                message = self._waiting.popleft()
                if message.topic not in closed:
                    self._leaving = message
                    return message
                self._keep(message)
            return None

    def sent(self, message_id: int) -> None:
        """What `next` gave is on its way under this id."""
        with self._lock:
            if self._leaving is not None:
                self._sent[message_id] = self._leaving
            self._leaving = None

    def settled(self, message_id: int, *, taken: bool = True) -> Message | None:
        """The broker has taken or refused a message; None where the id is not one of ours.

        A refused one is kept until `ask_again`, in order, as many as may wait.
        """
        with self._lock:
            message = self._sent.pop(message_id, None)
            if message is not None and not taken:
                self._keep(message)
            return message

    def _keep(self, message: Message) -> None:
        if len(self._refused) == self._limit:
            self.dropped += 1
        self._refused.append(message)

    def ask_again(self) -> None:
        """Have what was refused sent again, before what waits: the broker's access list may have changed."""
        with self._lock:
            self._waiting.extendleft(reversed(self._refused))
            self._refused.clear()

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
            self._waiting.extendleft(reversed(self._refused))
            self._refused.clear()
            waiting = {message.topic for message in self._waiting}
            self._waiting.extend(message for topic, message in self._latest.items() if topic not in waiting)
