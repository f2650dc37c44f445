"""A connection to the broker that is kept up: a thread connects, pumps, and after each loss connects again.

The owner of a link is called in that thread, and what it passes to `use` in its own. One of them has the connection at
a time. Nothing here blocks whoever publishes.
"""

import logging
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from edge import broker
from edge.config import MqttSettings
from edge.errors import BrokerError, BrokerRefusedError, ConfigError
from edge.mqtt import Connection, ProtocolRefusedError
from edge.mqtt import Protocol as MqttProtocol
from edge.mqtt_message import Message, Received
from edge.mqtt_socket import Names

Phase = Literal["connecting", "connected", "offline", "refused", "closed"]

FIRST_WAIT_S = 0.2
# Poses must flow again within 3 s of a network's healing, so a broker that is away is looked for at least this often.
LONGEST_WAIT_S = 1.2
# Somebody may be mending what is refused just now, and should see it work at once; a refusal that has stood for long is
# asked about less often, because brokers log each.
LONGEST_REFUSED_WAIT_S = 2.5
LONG_REFUSED_S = 600.0
LONGEST_WAIT_AFTER_LONG_S = 15.0
# A connection that lasted so long was a good one: the next loss starts again with the shortest wait.
GOOD_CONNECTION_S = 5.0
CLOSE_TIMEOUT_S = 1.0
# So many short connections in a row are no accident: brokers end a connection when another comes under its name, and
# not all say so.
SUSPICIOUS_LOSSES = 3
# A broker that seemed not to speak MQTT 5 may have been starting, or have been replaced: it is asked again at the
# first reconnect after so long. Not at each, because silence for an answer costs seconds.
ASK_FOR_5_AGAIN_S = 3600.0
# What breaks may break differently each time; no outage fills the log.
MAX_SAID = 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinkState:
    """What there is to say about a link.

    Attributes:
        phase: `refused` is a broker that answers and says no; `offline` is any other failure, tried again.
        detail: why, for `offline` and `refused`; what the broker does not allow a publisher, for `connected`.
        protocol: MQTT version in use, `None` without a connection.
        connections: how often a connection was made.
    """

    phase: Phase
    detail: str = ""
    protocol: MqttProtocol | None = None
    connections: int = 0

    def __str__(self) -> str:
        return f"{self.phase}: {self.detail}" if self.detail else self.phase


class Owner(Protocol):
    """Who uses a link; see `Publisher` and `Subscriber`."""

    def connected(self, connection: Connection) -> None:
        """A connection stands: subscribe, send what must be known first."""

    def work(self, connection: Connection) -> None:
        """Something may be there to send, or was acknowledged."""

    def received(self, message: Received) -> None:
        """A message came."""

    def closing(self, connection: Connection) -> None:
        """Last words before a wanted goodbye."""


def longest_refused_wait_s(since_s: float | None) -> float:
    """How long to wait at most before asking again for what is refused; `since_s` is of the monotonic clock."""
    long = since_s is not None and time.monotonic() - since_s > LONG_REFUSED_S
    return LONGEST_WAIT_AFTER_LONG_S if long else LONGEST_REFUSED_WAIT_S


class Backoff:
    """Waits that double up to a longest one, each made shorter by chance, so that many devices do not come at once."""

    def __init__(self) -> None:
        self._wait_s = FIRST_WAIT_S

    def reset(self) -> None:
        """The next wait is the shortest again."""
        self._wait_s = FIRST_WAIT_S

    def next(self, longest_s: float) -> float:
        """Seconds to wait now."""
        wait_s = min(self._wait_s, longest_s)
        self._wait_s = wait_s * 2
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311 -- no secret


class Link:
    """See the module. `state` may be read from any thread."""

    def __init__(self, settings: MqttSettings, client_id: str, owner: Owner, will: Message | None = None) -> None:
        """Check what can be checked without a network.

        Raises:
            ConfigError: the broker's URL, the password file or a certificate.
        """
        self._address = broker.check(settings)
        self._settings = settings
        self._names = Names(self._address)
        self._client_id = client_id
        self._owner = owner
        self._will = will
        self._version_5_worked = False
        self._only_3_1_1_since_s: float | None = None
        self._said: set[str] = set()
        self._short_connections = 0
        self._up_at_s: float | None = None
        self._lost_at_s: float | None = None
        self._stop = threading.Event()
        self._turn = threading.Lock()  # held by whoever uses the connection
        self._standing: Connection | None = None  # a connection over which all that must be known first has been sent
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{client_id}", daemon=True)
        self.state = LinkState("connecting")

    def start(self) -> None:
        """Start the thread; it connects, and goes on trying until `close`."""
        self._thread.start()

    def wake(self) -> None:
        """Have `Owner.work` called soon. Never blocks."""
        try:
            self._wake_in.send(b".")
        except BlockingIOError:
            return  # the pair is full of wakes that nobody has read yet: one is enough

    def use(self, send: Callable[[Connection], bool]) -> bool:
        """Have something sent by the calling thread, if there is a connection that nobody uses. Never blocks.

        Waking this link's thread for it costs several times what the sending does.

        Args:
            send: called with the connection, if at all; says whether it sent what there was.

        Returns:
            Whether it was sent; else the owner's `work` has to, after a `wake`.
        """
        if not self._turn.acquire(blocking=False):
            return False
        try:
            connection = self._standing
            if connection is None or not send(connection):
                return False
            if connection.busy:
                self.wake()  # this link's thread then waits until the network takes the rest
        except BrokerError:
            self.wake()  # and then meets the failure by itself
            return False
        else:
            return True
        finally:
            self._turn.release()

    def close(self) -> None:
        """Say goodbye and stop. Takes at most 1 s; a thread that hangs in a connect is left to die with the process."""
        self._stop.set()
        if self._thread.is_alive():
            self.wake()
            self._thread.join(CLOSE_TIMEOUT_S)
        self.state = replace(self.state, phase="closed", detail="", protocol=None)

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            longest_s = LONGEST_WAIT_S
            try:
                self._serve(self._connect())
            except (BrokerRefusedError, ConfigError) as error:  # a password file can go bad while this runs
                longest_s = longest_refused_wait_s(self._lost_at_s)
                self._failed("refused", str(error))
            except BrokerError as error:
                self._failed("offline", str(error))
            except Exception as error:  # a fault of ours must not end the thread: the device would be mute for good
                logger.exception("MQTT thread")
                self._failed("offline", f"{self._address}: internal error: {error!r}")
            if self._was_good():
                backoff.reset()
            self._up_at_s = None
            self._stop.wait(backoff.next(longest_s))

    def _was_good(self) -> bool:
        return self._up_at_s is not None and time.monotonic() - self._up_at_s > GOOD_CONNECTION_S

    def _connect(self) -> Connection:
        """A connection in the newest protocol that the broker speaks."""
        setting = self._settings.protocol
        since_s = self._only_3_1_1_since_s
        known_old = since_s is not None and time.monotonic() - since_s < ASK_FOR_5_AGAIN_S
        if setting == "3.1.1" or (setting == "auto" and known_old):
            return self._open("3.1.1")
        try:
            connection = self._open("5")
        except ProtocolRefusedError as error:
            # Silence from a broker that has spoken MQTT 5 before is a broker in trouble, not an old one.
            if setting == "5" or (self._version_5_worked and not error.said):
                raise
            connection = self._open("3.1.1")
            self._only_3_1_1_since_s = time.monotonic()
            if since_s is None:
                logger.warning("%s; using MQTT 3.1.1: no message expiry, and refused messages go unnoticed", error)
        else:
            self._version_5_worked, self._only_3_1_1_since_s = True, None
        return connection

    def _open(self, protocol: MqttProtocol) -> Connection:
        connection = Connection(
            self._settings, self._client_id, protocol, self._will, self._owner.received, self._names
        )
        connection.open()
        return connection

    def _serve(self, connection: Connection) -> None:
        if self._stop.is_set():  # closed while this was still connecting: too late to say anything
            connection.abort()
            return
        self._came_up(connection)
        # Looked at so often even where nothing happens, so that a broker that has gone silent is noticed in time.
        look_s = min(1.0, self._settings.keepalive / 4)
        try:
            with self._turn:
                self._owner.connected(connection)
                self._owner.work(connection)
                self._standing = connection
            while not self._stop.is_set():
                ready = connection.wait(look_s, self._wake_out.fileno())
                self._drain()
                with self._turn:
                    connection.handle(ready)
                    self._owner.work(connection)
        finally:
            with self._turn:
                self._standing = None
        self._owner.closing(connection)
        connection.close(CLOSE_TIMEOUT_S / 2)

    def _drain(self) -> None:
        try:
            self._wake_out.recv(4096)
        except BlockingIOError:
            return  # nobody had called

    def _came_up(self, connection: Connection) -> None:
        connections = self.state.connections + 1
        self.state = LinkState("connected", protocol=connection.protocol, connections=connections)
        away = "" if self._lost_at_s is None else f", after {time.monotonic() - self._lost_at_s:.1f} s without"
        # Where two devices of one name push each other out once a second, that is said with the loss, and once.
        level = logging.DEBUG if self._short_connections >= SUSPICIOUS_LOSSES else logging.INFO
        logger.log(level, "connected to %s, MQTT %s%s", connection.address, connection.protocol, away)
        self._up_at_s = time.monotonic()
        self._lost_at_s = None

    def _failed(self, phase: Phase, detail: str) -> None:
        if self._stop.is_set():
            return
        self._lost_at_s = self._lost_at_s or time.monotonic()
        if self._was_good():
            self._said.clear()
            self._short_connections = 0
        elif self._up_at_s is not None:
            self._short_connections += 1
        if self._short_connections >= SUSPICIOUS_LOSSES:
            detail += f", soon after each connect. Is there another client of the name {self._client_id!r}?"
        self.state = replace(self.state, phase=phase, detail=detail, protocol=None)
        if detail not in self._said and len(self._said) < MAX_SAID:  # once an outage, not at every attempt
            logger.warning("%s; trying again until it works", detail)
            self._said.add(detail)
