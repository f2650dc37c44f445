"""The publisher while the network or the broker fails: nothing blocks, nothing grows, everything heals."""

import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from brokers import Mosquitto, eventually, free_port, needs_mosquitto
from networks import Door, Network, needs_network_namespaces
from wire import retained

from edge.config import MqttSettings
from edge.demo_broker import DemoBroker
from edge.errors import BrokerError, BrokerRefusedError
from edge.link import check_broker
from edge.messages import Info
from edge.mqtt import Received
from edge.publisher import Publisher
from edge.subscriber import Subscriber

INFO = Info(device="kitchen")
DEVICE = Path(__file__).parent / "simulated_device.py"


class Watcher:
    """Notes what arrives at a broker, with the time of arrival; it reconnects when the broker is restarted."""

    def __init__(self, url: str, **values: object) -> None:
        settings = msgspec.convert({"broker": url, "keepalive": 2, **values}, MqttSettings)
        self.subscriber = Subscriber(settings, ["edge-pose/kitchen/+"], limit=100_000)
        self.arrived: list[tuple[float, Received]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self.subscriber.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.subscriber.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self.subscriber.get(0.1)
            if message:
                self.arrived.append((time.time(), message))

    def presence(self) -> list[tuple[float | None, bool]]:
        """The changes that arrived, in order; the last one said again after a reconnect counts as one."""
        found: list[tuple[float | None, bool]] = []
        for _, message in self.arrived:
            change = (message.time_s, message.payload == b"ON")
            if message.topic.endswith("/presence") and (not found or found[-1] != change):
                found.append(change)
        return found

    def pose_after(self, moment_s: float) -> float:
        """Seconds from a moment to the first pose that arrived after it."""
        times = [at for at, message in self.arrived if message.topic.endswith("/pose") and at > moment_s]
        return times[0] - moment_s if times else float("inf")


def check(report: dict[str, Any], watcher: Watcher, healed_s: float) -> None:
    """What must be true after every fault that heals."""
    assert watcher.presence() == [tuple(change) for change in report["changes"]]
    assert watcher.pose_after(healed_s) <= 3.0
    assert statistics.median(report["fps"]) >= 27, report["fps"]
    assert report["slowest_ms"] < 200, report["slowest_ms"]  # a blocked loop would wait for seconds
    assert report["rss_mb"][-1] - report["rss_mb"][1] < 4, report["rss_mb"]
    assert report["close_s"] < 1.3
    assert report["states"][-1][1] == "connected"


@contextmanager
def device(url: str, seconds: float, *prefix: str, **settings: object) -> Iterator[Callable[[], dict[str, Any]]]:
    """The simulated device as a process; what is given waits for its report."""
    command = [*prefix, sys.executable, str(DEVICE), url, str(seconds), json.dumps(settings)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def report() -> dict[str, Any]:
        output, _ = process.communicate(timeout=seconds + 30)
        found: dict[str, Any] = json.loads(output)
        return found

    try:
        yield report
    finally:
        process.kill()
        process.wait()


@needs_mosquitto
def test_the_broker_is_absent_at_first_and_killed_later(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker")
    with device(broker.url, 8) as report, Watcher(broker.url) as watcher:
        time.sleep(2)
        broker.start()
        first_s = time.time()
        time.sleep(2)
        broker.stop(signal.SIGKILL)
        killed_s = time.time()
        first_life = broker.log()
        time.sleep(1)
        broker.start()
        healed_s = time.time()
        result = report()
        final = retained(broker)
        broker.stop()
    made = [tuple(change) for change in result["changes"]]
    # The watcher comes back to the broker after the device, so what it cannot have seen is counted in the broker's log.
    before = sum(change[0] < killed_s for change in made)
    taken = sum("Received PUBLISH" in line and "/presence'" in line for line in first_life.splitlines())
    assert before - 1 <= taken <= before
    seen = watcher.presence()
    positions = [made.index(change) for change in seen if change in made]
    assert len(positions) == len(seen)
    assert positions == sorted(positions)
    assert sum(after - before > 1 for before, after in pairwise(positions)) <= 1
    assert positions[-1] == len(made) - 1
    assert watcher.pose_after(first_s) <= 3.0
    assert watcher.pose_after(healed_s) <= 3.0
    assert statistics.median(result["fps"]) >= 27
    assert result["slowest_ms"] < 200
    assert result["reconnects"] == 1
    assert final["status"].payload == b"offline"
    assert final["presence"].time_s == made[-1][0]


def fault_in_network(
    tmp_path: Path, seconds: float, fault: Callable[[Network], None], mend: Callable[[Network], None]
) -> tuple[dict[str, Any], Watcher, float]:
    with Network() as network:
        broker = Mosquitto(tmp_path / "broker", address="0.0.0.0")
        broker.host = network.outside_address
        broker.start("ip", "netns", "exec", network.broker)
        assert eventually(broker.listens), broker.log()
        url = f"mqtt://{network.broker_address}:{broker.port}"
        try:
            with Watcher(broker.url) as watcher:
                assert watcher.subscriber.subscribed.wait(10)
                with device(url, seconds + 6, "ip", "netns", "exec", network.device) as report:
                    assert eventually(lambda: len(watcher.arrived) > 30)
                    fault(network)
                    time.sleep(seconds)
                    mend(network)
                    healed_s = time.time()
                    result = report()
                    time.sleep(0.5)
                assert retained(broker)["status"].payload == b"offline"  # the device has said goodbye by now
        finally:
            broker.stop(signal.SIGKILL)
    return result, watcher, healed_s


@needs_mosquitto
@needs_network_namespaces
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3, 10, 60])
def test_a_partition_costs_its_own_length(tmp_path: Path, seconds: float) -> None:
    result, watcher, healed_s = fault_in_network(tmp_path, seconds, Network.unplug, Network.plug)
    check(result, watcher, healed_s)
    # A moment is bridged by TCP itself; longer, and the connection is given up.
    assert any(phase == "offline" for _, phase, _ in result["states"]) == (seconds > 5)


@needs_mosquitto
@needs_network_namespaces
@pytest.mark.slow
def test_a_half_open_connection_is_noticed_and_replaced(tmp_path: Path) -> None:
    result, watcher, healed_s = fault_in_network(tmp_path, 12, Network.swallow, Network.deliver)
    check(result, watcher, healed_s)
    assert result["reconnects"] >= 1
    noticed_s = next(at for at, phase, _ in result["states"] if phase == "offline")
    assert noticed_s - (healed_s - 12) < 10  # twice the keepalive


Fault = Callable[[Path], "AbstractContextManager[Trouble]"]


@dataclass
class Trouble:
    """A broker that does not let a device in: where each reaches it, with what settings, and how it is mended."""

    device_url: str
    mend: Callable[[], None]
    watcher_url: str
    device: dict[str, object] = field(default_factory=dict)
    watcher: dict[str, object] = field(default_factory=dict)


@contextmanager
def wrong_password(tmp_path: Path) -> Iterator[Trouble]:
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    make_password(passwords, "kitchen", "another")
    make_password(passwords, "watcher", "right")
    secret.write_text("right\n")
    with Mosquitto(tmp_path / "broker", f"password_file {passwords}", "allow_anonymous false") as broker:

        def mend() -> None:
            make_password(passwords, "kitchen", "right")
            broker.reload()

        yield Trouble(broker.url, mend, broker.url, login("kitchen", secret), login("watcher", secret))


@contextmanager
def denied_by_access_list(tmp_path: Path) -> Iterator[Trouble]:
    passwords, secret, acl = tmp_path / "passwords", tmp_path / "secret", tmp_path / "acl"
    make_password(passwords, "kitchen", "right")
    make_password(passwords, "watcher", "right")
    secret.write_text("right\n")
    acl.write_text("user watcher\ntopic readwrite #\n")
    options = (f"password_file {passwords}", "allow_anonymous false", f"acl_file {acl}")
    with Mosquitto(tmp_path / "broker", *options) as broker:

        def mend() -> None:
            acl.write_text("user watcher\ntopic readwrite #\nuser kitchen\ntopic readwrite #\n")
            broker.reload()

        yield Trouble(broker.url, mend, broker.url, login("kitchen", secret), login("watcher", secret))


@contextmanager
def unknown_authority(tmp_path: Path) -> Iterator[Trouble]:
    house, stranger = authority(tmp_path, "house"), authority(tmp_path, "stranger")
    good, bad = certificate(tmp_path, "good", house), certificate(tmp_path, "bad", stranger)
    used = tmp_path / "used.pem", tmp_path / "used.key"
    copy_all(bad, used)
    tls = f"certfile {used[0]}\nkeyfile {used[1]}"
    inside = free_port()
    with Mosquitto(tmp_path / "broker", f"listener {inside} 127.0.0.1", listener=tls) as broker:

        def mend() -> None:
            copy_all(good, used)
            broker.reload()

        device_url = broker.url.replace("mqtt://", "mqtts://")
        yield Trouble(device_url, mend, f"mqtt://127.0.0.1:{inside}", {"ca_file": str(house[0])})


@contextmanager
def hangs_up(tmp_path: Path) -> Iterator[Trouble]:
    with Mosquitto(tmp_path / "broker") as broker, Door(broker.port) as door:
        door.mode = "slam"
        yield Trouble(f"mqtt://127.0.0.1:{door.port}", lambda: setattr(door, "mode", "open"), broker.url)


def make_password(file: Path, user: str, password: str) -> None:
    create = [] if file.exists() else ["-c"]
    subprocess.run(["mosquitto_passwd", "-b", *create, str(file), user, password], check=True, capture_output=True)


def login(user: str, secret: Path) -> dict[str, object]:
    return {"username": user, "password_file": str(secret)}


def copy_all(sources: tuple[Path, ...], targets: tuple[Path, ...]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.write_bytes(source.read_bytes())


@needs_mosquitto
@pytest.mark.slow
@pytest.mark.parametrize("fault", [wrong_password, denied_by_access_list, unknown_authority, hangs_up])
def test_a_refusal_that_is_mended_loses_no_change(tmp_path: Path, fault: Fault) -> None:
    with fault(tmp_path) as trouble, Watcher(trouble.watcher_url, **trouble.watcher) as watcher:
        assert watcher.subscriber.subscribed.wait(10)
        with device(trouble.device_url, 12, **trouble.device) as report:
            time.sleep(7)
            assert not watcher.arrived
            trouble.mend()
            healed_s = time.time()
            result = report()
            time.sleep(0.5)
    check(result, watcher, healed_s)
    assert any(detail for _, _, detail in result["states"])


@needs_mosquitto
def test_a_connection_that_leads_nowhere_is_replaced(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker, Door(broker.port) as door, Watcher(broker.url) as watcher:
        assert watcher.subscriber.subscribed.wait(10)
        with device(f"mqtt://127.0.0.1:{door.port}", 8, keepalive=1) as report:
            assert eventually(lambda: len(watcher.arrived) > 15)
            door.mode = "swallow"
            time.sleep(3)
            door.mode = "open"
            healed_s = time.time()
            result = report()
            time.sleep(0.5)
    check(result, watcher, healed_s)
    assert result["reconnects"] >= 1


def test_a_broker_without_mqtt_5_gets_every_change_in_order() -> None:
    with DemoBroker() as broker, Watcher(broker.url) as watcher:
        assert watcher.subscriber.subscribed.wait(10)
        with device(broker.url, 4.5) as report:
            result = report()
        assert eventually(lambda: watcher.arrived and watcher.arrived[-1][1].payload == b"offline")
    seen = [message.payload == b"ON" for _, message in watcher.arrived if message.topic.endswith("/presence")]
    assert seen == [present for _, present in result["changes"]]
    assert sum(message.topic.endswith("/pose") for _, message in watcher.arrived) >= 15
    assert statistics.median(result["fps"]) >= 27


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
        assert caplog.text.count("does not allow edge-pose/kitchen/presence") == 1
        assert caplog.text.count("does not allow edge-pose/kitchen/info") == 1
        assert "does not allow edge-pose/kitchen/status" not in caplog.text
        acl.write_text("topic readwrite #\n")
        broker.restart()
        assert eventually(lambda: publisher.state.phase == "connected" and not publisher.state.detail)
        assert eventually(lambda: retained(broker, 0.2).get("presence"))
        publisher.close()


def authority(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate authority: its certificate and key."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj")(
        f"/CN={name}", "-keyout", str(key), "-out", str(certificate)
    )
    return certificate, key


def certificate(directory: Path, name: str, signer: tuple[Path, Path]) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    key, request, signed = (directory / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
    extensions = directory / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj")(
        f"/CN={name}", "-keyout", str(key), "-out", str(request)
    )
    openssl("x509", "-req", "-days", "2", "-CAcreateserial", "-extfile", str(extensions))(
        *("-in", str(request), "-CA", str(signer[0]), "-CAkey", str(signer[1]), "-out", str(signed))
    )
    return signed, key


def openssl(*first: str) -> Callable[..., None]:
    def run(*rest: str) -> None:
        subprocess.run(["openssl", *first, *rest], check=True, capture_output=True)

    return run


@needs_mosquitto
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed; it makes the certificates")
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
def test_two_devices_of_one_name_are_told(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        first, second = Publisher(broker.settings(), INFO), Publisher(broker.settings(), INFO)
        first.start()
        assert eventually(lambda: first.state.phase == "connected")
        second.start()
        assert eventually(lambda: "another client of the name" in first.state.detail + second.state.detail, 20)
        first.close()
        second.close()
