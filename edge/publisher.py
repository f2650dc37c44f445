"""Publish poses and what belongs to them over MQTT. Nothing here makes the caller wait for the network."""

import logging
import re
import time
from collections import deque
from dataclasses import dataclass, replace

import msgspec

from edge import homeassistant
from edge.commands import Commands, Target
from edge.config import TOPIC_LEVEL, MqttSettings
from edge.link import LONGEST_REFUSED_WAIT_S, Backoff, Link, LinkState, longest_refused_wait_s
from edge.messages import Health, Info, encode
from edge.mqtt import Connection
from edge.mqtt_message import Message, Received
from edge.outbox import Outbox
from edge.topics import OFF, OFFLINE, ON, ONLINE, Topics

# A pose that is older says nothing about now.
POSE_EXPIRY_S = 2
# Poses that wait while the network takes nothing: a quarter of a second at 30 fps. The newest are kept.
POSE_QUEUE = 8
# Answers that wait; a flood of commands must not push anything else out.
RESULT_QUEUE = 16
# Commands a second that are answered; what comes beyond is thrown away.
MAX_COMMANDS_PER_S = 20
MAX_COMMAND_NAME = 40
JSON, BINARY, TEXT = "application/json", "application/octet-stream", "text/plain"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _WaitingPose:
    made_s: float
    message: Message


class _Rate:
    """At most so many a second, counted from the first of each second."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._second_s = 0.0
        self._count = 0
        self._said = False

    def allows(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._second_s >= 1:
            self._second_s, self._count = now_s, 0
        self._count += 1
        if self._count > self._limit and not self._said:
            self._said = True
            logger.warning("more than %d commands a second arrive; the rest is thrown away", self._limit)
        return self._count <= self._limit


class Publisher:
    """One device's side of MQTT; see docs/mqtt.md for the topics.

    Args:
        settings: broker, names, TLS.
        info: published at every connect, with the protocol version in use.
        controls: what commands on `set/<name>` change; None takes no commands.

    Raises:
        ConfigError: the broker's URL, the password file or a certificate.
    """

    def __init__(self, settings: MqttSettings, info: Info, controls: Target | None = None) -> None:
        self.topics = Topics.of(settings)
        self.poses_dropped = 0
        self._info = info
        self._settings = settings
        self._commands = Commands(controls) if controls else None
        self._rate = _Rate(MAX_COMMANDS_PER_S)
        self._poses: deque[_WaitingPose] = deque(maxlen=POSE_QUEUE)
        self._announcements: dict[str, Message] = {}  # by topic, so that an older one is not sent after a newer
        self._results: deque[Message] = deque(maxlen=RESULT_QUEUE)
        self._changes = Outbox()
        self._health: Health | None = None
        self._health_due = False
        self._others: dict[int, str] = {}  # ids of messages of QoS 1 that are not in the outbox, and their topics
        self._denied: dict[str, str] = {}
        self._said_denied: set[str] = set()
        self._denied_since_s = 0.0
        self._ask_at_s = 0.0
        self._ask_backoff = Backoff()
        will = Message(self.topics.status, OFFLINE, qos=1, retain=True)
        self._link = Link(settings, client_id(self.topics), self, will)

    def start(self) -> None:
        """Connect in the background, and stay connected until `close`."""
        self._link.start()

    def close(self) -> None:
        """Publish `offline` and disconnect, in at most 1 s. What has not been delivered by then is lost."""
        self._link.close()

    @property
    def state(self) -> LinkState:
        """How the connection is; for one that stands, `detail` names what the broker does not allow, if anything."""
        state = self._link.state
        denied_now = list(self._denied.items())  # in one go: the network's thread may change it meanwhile
        if state.phase == "connected" and denied_now:
            denied = "; ".join(f"{topic}: {reason}" for topic, reason in denied_now)
            return replace(state, detail=f"the broker does not allow {denied}")
        return state

    @property
    def reconnects(self) -> int:
        """Connections after the first."""
        return max(self._link.state.connections - 1, 0)

    def publish_pose(self, payload: bytes, packed: bytes | None = None) -> None:
        """Send an encoded pose message, and its binary form if there is one. Dropped if the network takes nothing."""
        self._queue_pose(Message(self.topics.pose, payload, expiry_s=POSE_EXPIRY_S, content_type=JSON))
        if packed is not None:
            self._queue_pose(Message(self.topics.packed, packed, expiry_s=POSE_EXPIRY_S, content_type=BINARY))
        if not self._link.use(self._send_poses):
            self._link.wake()

    def _queue_pose(self, message: Message) -> None:
        if len(self._poses) == POSE_QUEUE:
            self._count_dropped(self._poses[0].message)
        self._poses.append(_WaitingPose(time.monotonic(), message))

    def publish_presence(self, present: bool, time_s: float) -> None:
        """Tell that presence changed at `time_s` (seconds since 1970); kept until the broker has it."""
        self._change(self.topics.presence, ON if present else OFF, time_s)

    def publish_count(self, count: int, time_s: float) -> None:
        """Tell that the number of persons in view changed at `time_s`; kept until the broker has it."""
        self._change(self.topics.count, str(count).encode(), time_s)

    def _change(self, topic: str, payload: bytes, time_s: float) -> None:
        self._changes.put(Message(topic, payload, qos=1, retain=True, content_type=TEXT, time_s=time_s))
        self._link.wake()

    def publish_health(self, health: Health) -> None:
        """Send figures; while offline the newest ones wait."""
        self._health = health
        self._health_due = True
        self._link.wake()

    # What follows is called by the link, in its thread.

    def connected(self, connection: Connection) -> None:
        """Say who is here, then everything that a reader must know, then what has waited."""
        self._others.clear()
        self._denied.clear()
        self._announcements.clear()
        self._announce(connection)
        self._changes.reconnected()
        self._results.clear()  # whoever asked over the old connection may be gone
        self._health_due = self._health is not None

    def _announce(self, connection: Connection) -> None:
        if self._commands:
            self._subscribe(connection, self.topics.command("+"))
        info = msgspec.structs.replace(self._info, mqtt=connection.protocol)
        self._announcement(Message(self.topics.status, ONLINE, qos=1, retain=True, content_type=TEXT))
        self._announcement(Message(self.topics.info, encode(info), qos=1, retain=True, content_type=JSON))
        if self._settings.homeassistant:
            self._subscribe(connection, homeassistant.birth_topic(self._settings))
            self._announcement(homeassistant.announcement(self._settings, self._info))

    def _announcement(self, message: Message) -> None:
        self._announcements[message.topic] = message

    def work(self, connection: Connection) -> None:
        """Read what was acknowledged, then send: who is here, changes, answers, health, poses."""
        for message_id, reason in connection.acknowledged:
            self._settle(message_id, reason)
        connection.acknowledged.clear()
        self._ask_again(connection)
        while self._announcements and self._room(connection):
            self._send_other(connection, self._announcements.pop(next(iter(self._announcements))))
        while self._room(connection) and (message := self._changes.next()):
            self._changes.sent(connection.publish(message))
        while self._room(connection) and self._results:
            self._send_other(connection, self._results.popleft())
        if self._health_due and self._health is not None:
            self._health_due = False
            payload = encode(self._health)
            connection.publish(Message(self.topics.health, payload, retain=True, content_type=JSON))
        self._send_poses(connection)

    def _room(self, connection: Connection) -> int:
        """How many more messages of QoS 1 the broker will take now."""
        return max(connection.max_inflight - self._changes.in_flight - len(self._others), 0)

    def _settle(self, message_id: int, reason: str) -> None:
        """Note the broker's answer to a message or subscription; `reason` is empty where it took it."""
        message = self._changes.settled(message_id, taken=not reason)
        topic = message.topic if message else self._others.pop(message_id, None)
        if topic is None:
            return
        if not reason:
            self._denied.pop(topic, None)
            return
        if not self._denied:
            self._ask_backoff.reset()
            self._denied_since_s = time.monotonic()
            self._ask_at_s = self._denied_since_s + self._ask_backoff.next(LONGEST_REFUSED_WAIT_S)
        if topic not in self._said_denied:
            self._said_denied.add(topic)
            logger.warning("the broker does not allow %s: %s. Check its access list (docs/mqtt.md)", topic, reason)
        self._denied[topic] = reason

    def _ask_again(self, connection: Connection) -> None:
        """Now and then, try what the broker's access list denied: it may have been changed."""
        if not self._denied or time.monotonic() < self._ask_at_s:
            return
        self._ask_at_s = time.monotonic() + self._ask_backoff.next(longest_refused_wait_s(self._denied_since_s))
        # An answer to a command is not given twice, so nothing will ever say that its topic is allowed now.
        self._denied.pop(self.topics.result("+"), None)
        self._announce(connection)
        self._changes.ask_again()
        self._health_due = self._health is not None

    def _send_poses(self, connection: Connection) -> bool:
        """Send the poses that wait, as far as the network takes them; returns whether none is left."""
        oldest_s = time.monotonic() - POSE_EXPIRY_S
        while self._poses and not connection.busy:
            waiting = self._poses.popleft()
            if waiting.made_s >= oldest_s:
                connection.publish(waiting.message)
            else:
                self._count_dropped(waiting.message)
        return not self._poses

    def _count_dropped(self, message: Message) -> None:
        """One pose is one, whether it is sent in one form or in both."""
        self.poses_dropped += message.topic == self.topics.pose

    def _send_other(self, connection: Connection, message: Message) -> None:
        # Strangers choose the names of commands: answers are noted under one name, so that no list of them grows.
        answer = message.topic.startswith(self.topics.command("")) and message.topic.endswith("/result")
        self._others[connection.publish(message)] = self.topics.result("+") if answer else message.topic

    def received(self, message: Received) -> None:
        """Answer a command; a retained one is from the past and not for now."""
        if self._settings.homeassistant and message.topic == homeassistant.birth_topic(self._settings):
            if message.payload == homeassistant.BIRTH and not message.retained:
                self._announcement(homeassistant.announcement(self._settings, self._info))
            return
        prefix = self.topics.command("")
        if message.retained or self._commands is None or not message.topic.startswith(prefix):
            return
        name = message.topic[len(prefix) :]
        if not self._rate.allows() or not re.match(TOPIC_LEVEL, name):
            return  # a name that is no level of a topic has none to be answered on
        result = self._commands.handle(name, message.payload)
        # A topic of ours is not made longer than it has to be by whoever asks for nonsense.
        topic = self.topics.result(name[:MAX_COMMAND_NAME])
        self._results.append(Message(topic, msgspec.json.encode(result), qos=1, content_type=JSON))

    def _subscribe(self, connection: Connection, topic_filter: str) -> None:
        self._others[connection.subscribe(topic_filter, qos=1, retained=False)] = topic_filter

    def closing(self, connection: Connection) -> None:
        """Send what waits, then `offline`."""
        self.work(connection)
        self._send_other(connection, Message(self.topics.status, OFFLINE, qos=1, retain=True, content_type=TEXT))


def client_id(topics: Topics) -> str:
    """The name under which a device connects: the same each time, so that a broker ends its dead connection."""
    return f"{topics.base.replace('/', '-')}-{topics.device}"
