"""Connections for one errand: is a broker there, and one message delivered."""

import logging
import os
import time

from edge.config import MqttSettings
from edge.errors import BrokerError, BrokerRefusedError
from edge.link import CLOSE_TIMEOUT_S
from edge.mqtt import ANSWER_TIMEOUT_S, Connection, Protocol, ProtocolRefusedError
from edge.mqtt_message import Message

logger = logging.getLogger(__name__)


def check_broker(settings: MqttSettings) -> Protocol:
    """Connect once and say goodbye; returns the MQTT version that the broker speaks. Takes at most about 10 s.

    Raises:
        ConfigError: the broker's URL, the password file or a certificate.
        BrokerRefusedError: it answers and says no.
        BrokerError: it cannot be reached.
    """
    connection = _opened(settings)
    connection.close(CLOSE_TIMEOUT_S)
    return connection.protocol


def _opened(settings: MqttSettings) -> Connection:
    """A connection of a client that is nobody's device."""
    versions: dict[str, tuple[Protocol, ...]] = {"auto": ("5", "3.1.1"), "5": ("5",), "3.1.1": ("3.1.1",)}
    *first, last = versions[settings.protocol]
    for protocol in first:
        connection = Connection(settings, f"edge-pose-once-{os.getpid()}", protocol)
        try:
            connection.open()
        except ProtocolRefusedError as error:
            logger.debug("%s", error)  # an older broker; the next version is tried
        else:
            return connection
    connection = Connection(settings, f"edge-pose-once-{os.getpid()}", last)
    connection.open()
    return connection


def publish_once(settings: MqttSettings, message: Message) -> None:
    """Connect, publish one message of QoS 1, wait until the broker has it, and say goodbye.

    Raises:
        ConfigError: the broker's URL, the password file or a certificate.
        BrokerError: it cannot be reached, or refuses the client or the message.
    """
    connection = _opened(settings)
    connection.publish(message)
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while not connection.acknowledged and time.monotonic() < deadline:
        connection.pump(deadline - time.monotonic())
    answers = connection.acknowledged
    connection.close(CLOSE_TIMEOUT_S)
    if not answers:
        raise BrokerError(f"{connection.address}: no answer to a message on {message.topic}")
    if answers[0][1]:
        raise BrokerRefusedError(f"{connection.address}: the broker does not allow {message.topic}: {answers[0][1]}")
