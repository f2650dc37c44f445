"""One MQTT connection, from CONNECT to the end of its socket. The only file that imports paho.

A connection is used by one thread at a time and never comes back to life: `link` makes a new one. paho's own network
thread and its reconnecting are not used, because they hide why a connection failed, have no jitter, and queue without
bound.
"""

import contextlib
import select
import ssl
import time
from collections.abc import Callable
from typing import Any, Literal

from edge import broker, mqtt_properties, mqtt_reasons, mqtt_socket
from edge.config import MqttSettings
from edge.errors import BrokerError, BrokerRefusedError
from edge.mqtt_message import Message, Received

Protocol = Literal["5", "3.1.1"]

# A partition that heals must be noticed within 3 s: a lost SYN is sent again after 1 s, 3 s, 7 s, so an attempt of 2 s
# followed by a short wait looks more often than the kernel would.
CONNECT_TIMEOUT_S = 2.0
# A broker answers CONNECT at once; one that speaks only MQTT 3.1.1 may also misread MQTT 5 and wait for more.
ANSWER_TIMEOUT_S = 3.0
# Messages of QoS 1 on their way at once, or fewer where the broker wants fewer (MQTT 5, receive maximum); the rest
# waits with the publisher, which is where it is bounded.
MAX_INFLIGHT = 16
# Bytes: nothing that is read here comes near it, so a broker need not send us what is longer (MQTT 5).
MAX_PACKET = 256 * 1024
WRONG_PROTOCOL = "Unsupported protocol version"
RETAINED_NOT_WANTED = 2  # MQTT 5, retain handling: do not send retained messages at subscription


class ProtocolRefusedError(BrokerRefusedError):
    """The broker does not speak this version of MQTT. `said` tells a plain refusal from silence or a closed socket."""

    def __init__(self, message: str, *, said: bool) -> None:
        super().__init__(message)
        self.said = said


class Connection:
    """See the module.

    Attributes:
        acknowledged: collects (message id, what the broker said) of messages of QoS 1.
        max_inflight: how many of those may be unacknowledged at once; the owner counts.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        protocol: Protocol,
        will: Message | None = None,
        on_message: Callable[[Received], None] | None = None,
        names: mqtt_socket.Names | None = None,
    ) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.protocol = protocol
        self.address = broker.parse(settings.broker)
        self.acknowledged: list[tuple[int, str]] = []
        self.max_inflight = MAX_INFLIGHT
        self._settings = settings
        self._names = names or mqtt_socket.Names(self.address)
        self._answer: str | None = None
        self._goodbye = ""
        self._pending = False
        self._unacknowledged: set[int] = set()
        self._made_properties: dict[tuple[int | None, str, float | None], Any] = {}
        self._on_message = on_message
        version = paho.MQTTv5 if protocol == "5" else paho.MQTTv311
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False)
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.max_inflight_messages = 0  # the publisher counts
        if will:
            self._client.will_set(will.topic, will.payload, will.qos, will.retain)
        secret = broker.password(settings)
        if settings.username:
            self._client.username_pw_set(settings.username, secret)
        context = broker.tls_context(settings, self.address)
        if context:
            named: Any = mqtt_socket.NamedContext(context, self.address.host)
            self._client.tls_set_context(named)
        self._set_callbacks()

    def _set_callbacks(self) -> None:
        # paho calls these from `pump`, in the same thread. They only take note; nothing in them may raise.
        client: Any = self._client
        client.on_connect = lambda _client, _data, _flags, reason, properties: self._connected(str(reason), properties)
        client.on_disconnect = lambda _client, _data, _flags, reason, _properties: self._disconnected(str(reason))
        client.on_subscribe = lambda _client, _data, mid, reasons, _properties: self.acknowledged.append(
            (mid, "".join(str(reason) for reason in reasons if reason.value >= 128))
        )
        client.on_message = lambda _client, _data, message: self._received(message)
        client.on_socket_open = lambda _client, _data, sock: mqtt_socket.tune(sock, self._settings.keepalive)

    def _published(self, message_id: int, reason: Any) -> None:  # noqa: ANN401 -- paho's ReasonCode
        if message_id not in self._unacknowledged:
            return  # of QoS 0: nobody has acknowledged it
        self._unacknowledged.remove(message_id)
        self.acknowledged.append((message_id, "" if reason.value < 128 else str(reason)))
        if not self._unacknowledged:
            self._client.on_publish = None  # calling this for each pose would take a fifth of the time of sending it

    def _connected(self, reason: str, properties: Any) -> None:  # noqa: ANN401 -- paho's Properties, or None
        self.max_inflight = min(MAX_INFLIGHT, getattr(properties, "ReceiveMaximum", MAX_INFLIGHT))
        self._answer = reason

    def _disconnected(self, reason: str) -> None:
        self._goodbye = reason

    def _received(self, message: Any) -> None:  # noqa: ANN401 -- paho's MQTTMessage; paho is not imported up here
        if self._on_message is None:
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # no topic of ours; the broker should not have let it through
        properties = getattr(message.properties, "UserProperty", [])
        time_s = next((_number(value) for key, value in properties if key == "time"), None)
        self._on_message(Received(topic, bytes(message.payload), bool(message.retain), time_s))

    def open(self) -> None:
        """Connect and wait for the broker's answer.

        Raises:
            BrokerRefusedError: it answered, and said no; `ProtocolRefusedError` where it is about the protocol.
            BrokerError: it cannot be reached; the text says why and what to do.
        """
        try:
            if self.protocol == "5":
                # The session ends with the connection, so that nobody's command waits hours for this device.
                wanted = {"SessionExpiryInterval": 0, "MaximumPacketSize": MAX_PACKET}
                self._connect(clean_start=True, properties=mqtt_properties.properties("CONNECT", **wanted))
            else:
                self._connect()
        except OSError as error:
            raise BrokerError(f"{self.address}: {mqtt_reasons.unreachable(error, CONNECT_TIMEOUT_S)}") from None
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while self._answer is None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                self.abort()
                raise self._silent(f"does not answer MQTT {self.protocol} within {ANSWER_TIMEOUT_S:.0f} s")
            try:
                self.pump(remaining)
            except BrokerError:
                if self._answer is None:
                    raise self._silent("closes the connection at once, without a word") from None
        if self._answer != "Success":
            self.abort()
            raise self._refusal(self._answer)

    def _connect(self, **version_5: Any) -> None:  # noqa: ANN401 -- paho's own arguments
        failure: OSError | None = None
        for address in self._names.addresses():
            try:
                self._client.connect(address, self.address.port, self._settings.keepalive, **version_5)
            except OSError as error:
                failure = error
            else:
                return
        raise failure or OSError("the host's name has no address")

    def _silent(self, what: str) -> BrokerError:
        if self.protocol == "5":
            return ProtocolRefusedError(f"{self.address}: the broker {what}", said=False)
        return BrokerError(f"{self.address}: the broker {what}. Is it an MQTT broker, and is TLS as it expects?")

    def _refusal(self, reason: str) -> BrokerRefusedError:
        if reason == WRONG_PROTOCOL:
            return ProtocolRefusedError(f"{self.address}: the broker does not speak MQTT {self.protocol}", said=True)
        return BrokerRefusedError(f"{self.address}: {mqtt_reasons.refused(reason, self._settings.username)}")

    def pump(self, timeout_s: float) -> None:
        """Wait for the network, at most so long; read, write, ping.

        Raises:
            BrokerError: the connection is over; the text says why.
        """
        self.handle(self.wait(timeout_s))

    def wait(self, timeout_s: float, wake: int | None = None) -> int:
        """Wait for the network, at most so long, or until `wake` (a file descriptor) is readable.

        Nothing is read or written, so another thread may use the connection meanwhile.

        Returns:
            What `handle` wants to know.
        """
        sock = self._client.socket()
        number = -1 if sock is None else sock.fileno()
        if sock is None or number < 0:
            return 0  # `handle` says why
        poll = select.poll()
        poll.register(number, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        if wake is not None:
            poll.register(wake, select.POLLIN)
        if self._pending:
            return select.POLLIN
        return dict(poll.poll(timeout_s * 1000)).get(number, 0)

    def handle(self, ready: int) -> None:
        """Read, write and ping, as far as the network is `ready`.

        Raises:
            BrokerError: the connection is over; the text says why.
        """
        try:
            if ready & ~select.POLLOUT:
                self._client.loop_read()
            if ready & select.POLLOUT:
                self._client.loop_write()
            self._client.loop_misc()
        except Exception as error:  # noqa: BLE001 -- paho meets packets that are not MQTT with any kind of exception
            self.abort()
            raise BrokerError(f"{self.address}: what the broker sends is not MQTT: {error!r}") from None
        sock = self._client.socket()
        if sock is None:
            raise BrokerError(self._loss())
        # TLS may hold a packet that it has read already; the socket does not become readable for it again.
        self._pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def _loss(self) -> str:
        return f"{self.address}: {mqtt_reasons.lost(self._goodbye)}"

    @property
    def busy(self) -> bool:
        """Whether the network has not yet taken what was published."""
        return self._client.want_write()

    def publish(self, message: Message) -> int:
        """Hand a message to the network; returns its id, which `acknowledged` will name if it is of QoS 1.

        Raises:
            BrokerError: the connection is over.
        """
        info = self._client.publish(
            message.topic, message.payload, message.qos, message.retain, self._publish_properties(message)
        )
        if self._client.socket() is None:
            raise BrokerError(self._loss())
        if message.qos:
            self._unacknowledged.add(info.mid)
            client: Any = self._client
            client.on_publish = lambda _client, _data, mid, reason, _properties: self._published(mid, reason)
        return int(info.mid)

    def _publish_properties(self, message: Message) -> Any:  # noqa: ANN401 -- paho's Properties, or None
        if self.protocol != "5":
            return None
        key = (message.expiry_s, message.content_type, message.time_s)
        if key not in self._made_properties:
            self._made_properties.clear()  # one entry is enough: nearly all messages are poses
            self._made_properties[key] = mqtt_properties.Packed(message)
        return self._made_properties[key]

    def subscribe(self, topic_filter: str, *, qos: int = 0, retained: bool = True) -> int:
        """Subscribe; `retained` is whether waiting messages are wanted (MQTT 3.1.1 sends them in any case)."""
        if self.protocol == "5":
            from paho.mqtt.subscribeoptions import SubscribeOptions

            handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if retained else RETAINED_NOT_WANTED
            options = SubscribeOptions(qos=qos, retainHandling=handling)
            return int(self._client.subscribe(topic_filter, options=options)[1] or 0)
        return int(self._client.subscribe(topic_filter, qos)[1] or 0)

    def close(self, timeout_s: float) -> None:
        """Say goodbye, after what was published is on its way; then close. Takes at most so long."""
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(BrokerError):
            sock: Any = self._client.socket()
            if sock is not None:
                mqtt_socket.set_linger(sock, on=False)
            self._client.disconnect()
            while self._client.socket() is not None and time.monotonic() < deadline:
                self.pump(max(deadline - time.monotonic(), 0))
        self.abort()

    def abort(self) -> None:
        """Close the socket without a word."""
        sock = self._client.socket()
        if sock is not None:
            sock.close()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
