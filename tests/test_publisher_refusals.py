"""Brokers that say no, and what is no broker: said plainly, once, and survived."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from brokers import Mosquitto, eventually, needs_mosquitto
from certificates import authority, certificate, needs_openssl
from wire import retained

from edge import broker
from edge.config import MqttSettings
from edge.errors import BrokerError, BrokerRefusedError
from edge.messages import Info
from edge.mqtt_message import Received
from edge.mqtt_once import check_broker
from edge.pipeline import Controls
from edge.publisher import Publisher
from edge.subscriber import Subscriber

INFO = Info(device="kitchen")


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Something that listens, says this to everybody, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "closes the connection at once"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "closes the connection at once"),
        (bytes(range(256)) * 10, "closes the connection at once"),
        (b"\x20\x02\x00\x03", "refuses this client"),
    ],
)
def test_what_is_no_broker_is_survived_and_said(answer: bytes, expected: str, caplog: pytest.LogCaptureFixture) -> None:
    with server(answer) as url:
        publisher = Publisher(MqttSettings(broker=url, device_name="kitchen"), INFO)
        publisher.start()
        assert eventually(lambda: publisher.state.phase in ("offline", "refused"))
        for _ in range(20):
            publisher.publish_pose(b"x" * 1300)
            time.sleep(0.02)
        assert expected in publisher.state.detail
        assert "Traceback" not in caplog.text
        assert caplog.text.count(expected) <= 2
        started = time.monotonic()
        publisher.close()
        assert time.monotonic() - started < 1.3


def test_closing_does_not_wait_for_a_broker_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publisher = Publisher(MqttSettings(broker=f"mqtt://127.0.0.1:{silent.getsockname()[1]}"), INFO)
        publisher.start()
        time.sleep(0.3)
        assert publisher.state.phase not in ("connected", "offline")
        started = time.monotonic()
        publisher.close()
        assert time.monotonic() - started < 1.3
        assert publisher.state.phase == "closed"


@needs_mosquitto
def test_an_access_list_that_denies_is_said_once_for_each_topic(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic read #\ntopic write edge-pose/kitchen/status\ntopic write edge-pose/kitchen/pose\n")
    with Mosquitto(tmp_path / "broker", f"acl_file {acl}") as broker:
        publisher = Publisher(broker.settings(), INFO)
        publisher.start()
        for number in range(5):
            publisher.publish_presence(number % 2 == 0, float(number))
        assert eventually(lambda: "edge-pose/kitchen/presence: Not authorized" in publisher.state.detail)
        assert publisher.state.phase == "connected"
        assert str(publisher.state).startswith("connected: the broker does not allow ")  # systemd's status has it
        assert caplog.text.count("does not allow edge-pose/kitchen/presence") == 1
        assert caplog.text.count("does not allow edge-pose/kitchen/info") == 1
        assert "does not allow edge-pose/kitchen/status" not in caplog.text
        acl.write_text("topic readwrite #\n")
        broker.restart()
        assert eventually(lambda: publisher.state.phase == "connected" and not publisher.state.detail)
        assert eventually(lambda: retained(broker, 0.2).get("presence"))
        publisher.close()


@needs_openssl
@pytest.mark.parametrize("own", [True, False])
def test_certificates_are_loaded_anew_only_when_they_change(tmp_path: Path, own: bool) -> None:
    (house, _), (stranger, _) = authority(tmp_path, "house"), authority(tmp_path, "stranger")
    settings = MqttSettings(broker="mqtts://broker", ca_file=str(house) if own else "")
    address = broker.parse(settings.broker)
    first = broker.tls_context(settings, address)
    assert first is broker.tls_context(settings, address)
    if own:
        house.write_bytes(stranger.read_bytes())
        changed = broker.tls_context(settings, address)
        assert changed is not None
        assert [authority["subject"] for authority in changed.get_ca_certs()] == [((("commonName", "stranger"),),)]


@needs_mosquitto
@needs_openssl
def test_tls_with_an_own_authority_and_client_certificates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    house, stranger = authority(tmp_path, "house"), authority(tmp_path, "stranger")
    server_pem, server_key = certificate(tmp_path, "broker", house)
    own_pem, own_key = certificate(tmp_path, "kitchen", house)
    tls = f"cafile {house[0]}\ncertfile {server_pem}\nkeyfile {server_key}\nrequire_certificate true"
    with Mosquitto(tmp_path / "broker", listener=tls) as broker:
        good = {"ca_file": str(house[0]), "cert_file": str(own_pem), "key_file": str(own_key)}
        url = broker.url.replace("mqtt://", "mqtts://")
        assert check_broker(broker.settings(broker=url, **good)) == "5"

        unknown = Publisher(broker.settings(broker=url, **{**good, "ca_file": str(stranger[0])}), INFO)
        unknown.start()
        assert eventually(lambda: unknown.state.phase == "offline")
        assert "certificate is not trusted" in unknown.state.detail
        assert "mqtt.ca_file" in unknown.state.detail
        time.sleep(1)
        unknown.close()
        assert caplog.text.count("certificate is not trusted") == 1

        with pytest.raises(BrokerError):
            check_broker(broker.settings(broker=url, ca_file=str(house[0])))
        with pytest.raises(BrokerError, match=r"not valid for 'localhost'.*Name it in mqtt.broker as there"):
            check_broker(broker.settings(broker=url.replace("127.0.0.1", "localhost"), **good))
        with Mosquitto(tmp_path / "plain") as plain, pytest.raises(BrokerError, match="TLS failed"):
            check_broker(broker.settings(broker=plain.url.replace("mqtt://", "mqtts://"), **good))
        with server(b"this is not TLS\r\n") as plain, pytest.raises(BrokerError, match="TLS failed"):
            check_broker(broker.settings(broker=plain.replace("mqtt://", "mqtts://"), **good))

        publisher = Publisher(broker.settings(broker=url, **good), INFO)
        with Subscriber(broker.settings(broker=url, **good), ["edge-pose/kitchen/pose"]) as reader:
            assert reader.subscribed.wait(10)
            publisher.start()
            assert eventually(lambda: publisher.state.phase == "connected")
            for number in range(20):
                publisher.publish_pose(b'{"seq":%d}' % number)
                time.sleep(0.01)
            assert eventually(lambda: reader.messages.qsize() == 20)
        publisher.close()


@needs_mosquitto
def test_a_broker_that_refuses_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker", "allow_anonymous false")
    with broker, pytest.raises(BrokerRefusedError, match="without a name"):
        check_broker(broker.settings())
    with pytest.raises(BrokerError, match="nothing listens there"):
        check_broker(broker.settings())
    with pytest.raises(BrokerError, match="name is not known"):
        check_broker(MqttSettings(broker="mqtt://no-such-host.invalid"))


@needs_mosquitto
def test_two_devices_of_one_name_are_told_and_fill_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Mosquitto(tmp_path / "broker") as broker, caplog.at_level(logging.INFO):
        first, second = Publisher(broker.settings(), INFO), Publisher(broker.settings(), INFO)
        first.start()
        assert eventually(lambda: first.state.phase == "connected")
        second.start()
        for each in (first, second):
            assert eventually(lambda each=each: "another client of the name" in each.state.detail, 30)
        caplog.clear()
        connections = first.state.connections
        assert eventually(lambda: first.state.connections >= connections + 3, 20)
        assert "connected to" not in caplog.text
        first.close()
        second.close()


@needs_mosquitto
def test_answers_that_are_denied_make_no_list_grow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic read #\ntopic write edge-pose/kitchen/status\ntopic write edge-pose/kitchen/info\n")
    with Mosquitto(tmp_path / "broker", f"acl_file {acl}") as broker:
        publisher = Publisher(broker.settings(), INFO, Controls())
        publisher.start()
        assert eventually(lambda: "info" in retained(broker, 0.2))
        for number in range(15):
            publisher.received(Received(f"edge-pose/kitchen/set/x{number}", b"", retained=False))
        publisher.publish_count(1, 1.0)
        details: list[str] = []
        assert eventually(lambda: details.append(publisher.state.detail) or details[-1].count("Not authorized") == 2)
        assert "edge-pose/kitchen/set/+/result: Not authorized" in details[-1]
        assert caplog.text.count("does not allow") == 2
        publisher.close()


def exactly(connection: socket.socket, length: int) -> bytes:
    """So many bytes, however they are cut up on the way."""
    received = b""
    while len(received) < length:
        more = connection.recv(length - len(received))
        assert more, "the connection has ended"
        received += more
    return received


def packet(connection: socket.socket) -> tuple[int, bytes]:
    """The next MQTT packet of at most 16 kB: its first byte, and what follows the length."""
    first, low = exactly(connection, 2)
    length = low if low < 128 else low - 128 + 128 * exactly(connection, 1)[0]
    return first, exactly(connection, length)


def test_no_more_is_on_its_way_than_the_broker_wants() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        publisher = Publisher(MqttSettings(broker=f"mqtt://127.0.0.1:{listener.getsockname()[1]}"), INFO)
        for number in range(20):
            publisher.publish_count(number, float(number))
        publisher.start()
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            assert packet(connection)[0] == 0x10
            connection.sendall(b"\x20\x06\x00\x00\x03\x21\x00\x02")  # connected; receive maximum 2
            counts: list[bytes] = []
            unanswered: list[bytes] = []
            while len(counts) < 20:
                if len(unanswered) == 2:
                    connection.settimeout(0.05)
                    with pytest.raises(TimeoutError):
                        connection.recv(1, socket.MSG_PEEK)
                    connection.settimeout(5)
                    connection.sendall(b"\x40\x02" + unanswered.pop(0))
                first, body = packet(connection)
                assert first & 0x36 == 0x32  # PUBLISH, QoS 1
                after_topic = 2 + int.from_bytes(body[:2], "big")
                unanswered.append(body[after_topic : after_topic + 2])
                if body[2:after_topic].endswith(b"/count"):
                    properties = body[after_topic + 2]
                    counts.append(body[after_topic + 3 + properties :])
        publisher.close()
    assert counts == [b"%d" % number for number in range(20)]
