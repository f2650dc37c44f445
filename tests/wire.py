"""Messages to send in tests, and eyes on a broker."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from brokers import Mosquitto

from edge.link import Link
from edge.messages import PoseMessage, pose_message
from edge.mqtt import Connection
from edge.mqtt_message import Message, Received
from edge.pose import Frame, Pose, Roi
from edge.subscriber import Subscriber


def sample_pose(number: int = 1, *, world: bool = False, seed: int = 0) -> Pose:
    """A pose with 33 joints somewhere in and round a 640 x 480 frame."""
    random = np.random.default_rng(seed)
    keypoints = random.uniform((-60, -40, -640, 0, 0), (700, 520, 640, 1, 1), (33, 5)).astype(np.float32)
    world_m = random.uniform(-1.5, 1.5, (33, 3)).astype(np.float32) if world else None
    return Pose(number, 0.987654, "tracked", keypoints, world_m, Roi(320, 240, 300, 0.0))


def sample_frame(epoch_s: float = 1_700_000_000.123456) -> Frame:
    return Frame(np.zeros((480, 640, 3), np.uint8), epoch_s, epoch_s, 0.0)


def sample_message(seq: int = 0, people: int = 1, *, world: bool = False, device: str = "kitchen") -> PoseMessage:
    poses = [sample_pose(number + 1, world=world, seed=seq + number) for number in range(people)]
    return pose_message(device, seq, sample_frame(), poses, 41.26, world=world)


@contextmanager
def listen(broker: Mosquitto, *filters: str, **settings: object) -> Iterator[Subscriber]:
    """A subscriber that is already subscribed."""
    with Subscriber(broker.settings(**settings), filters) as reader:
        assert reader.subscribed.wait(10), reader.state
        yield reader


def retained(broker: Mosquitto, wait_s: float = 0.5) -> dict[str, Received]:
    """What a broker holds of the device `kitchen`, by the last levels of the topics.

    The end is a pause of `wait_s` in what it held; what is published meanwhile is no part of it.
    """
    found: dict[str, Received] = {}
    with Subscriber(broker.settings(), ["edge-pose/kitchen/#"]) as reader:
        end_s = time.monotonic() + wait_s + 3
        while (remaining_s := end_s - time.monotonic()) > 0:
            message = reader.get(remaining_s)
            if message is not None and message.retained:
                found[message.topic.split("/", 2)[2]] = message
                end_s = time.monotonic() + wait_s
    return found


class Sender:
    """A client that publishes what it is told, as fast as it can."""

    def __init__(self, broker: Mosquitto, messages: list[Message]) -> None:
        self._messages = messages
        self.done = False
        self._link = Link(broker.settings(), "sender", self)
        self._link.start()

    def connected(self, connection: Connection) -> None:
        for message in self._messages:
            while connection.busy:
                connection.pump(0.1)
            connection.publish(message)
        self.done = True

    def work(self, connection: Connection) -> None: ...
    def received(self, message: Received) -> None: ...
    def closing(self, connection: Connection) -> None: ...

    def close(self) -> None:
        self._link.close()
