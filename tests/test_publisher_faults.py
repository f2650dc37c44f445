"""The publisher while the network or the broker fails: nothing blocks, nothing grows, everything heals."""

import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from brokers import Mosquitto, eventually, free_port, needs_mosquitto
from certificates import authority, certificate
from networks import Door, Network, needs_network_namespaces
from wire import retained

from edge.config import MqttSettings
from edge.demo_broker import DemoBroker
from edge.messages import Info
from edge.mqtt_message import Received
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

    def payloads(self, topic: str) -> list[bytes]:
        """What arrived on a topic of the device."""
        return [message.payload for _, message in self.arrived if message.topic == f"edge-pose/kitchen/{topic}"]

    def repeated(self) -> int:
        """How many messages of presence told nothing new."""
        return len(self.payloads("presence")) - len(self.presence())

    def pose_after(self, moment_s: float) -> float:
        """Seconds from a moment to the first pose that arrived after it."""
        times = [at for at, message in self.arrived if message.topic.endswith("/pose") and at > moment_s]
        return times[0] - moment_s if times else float("inf")


def check(report: dict[str, Any], watcher: Watcher, healed_s: float) -> None:
    """What must be true after every fault that heals."""
    assert watcher.presence() == [tuple(change) for change in report["changes"]]
    assert watcher.repeated() <= 2 * report["reconnects"]  # the latest state, and a change whose answer was lost
    assert watcher.pose_after(healed_s) <= 3.0
    assert watcher.payloads("status")[-2:] == [b"online", b"offline"]
    assert report["states"][-1][1:] == ["connected", ""]
    check_device(report)


def check_device(report: dict[str, Any]) -> None:
    """What the device must not feel, whatever the network does."""
    assert statistics.median(report["fps"]) >= 27, report["fps"]
    assert report["slowest_ms"] < 200, report["slowest_ms"]  # a blocked loop would wait for seconds
    assert report["rss_mb"][-1] - report["rss_mb"][1] < 4, report["rss_mb"]
    assert report["close_s"] < 1.3


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
    check_device(result)
    assert result["reconnects"] == 1
    assert final["status"].payload == b"offline"
    assert final["presence"].time_s == made[-1][0]


def fault_in_network(
    tmp_path: Path,
    seconds: float,
    fault: Callable[[Network], None],
    mend: Callable[[Network], None],
    *,
    by_name: bool = False,
) -> tuple[dict[str, Any], Watcher, float]:
    with Network() as network, network.name_server() if by_name else nullcontext(network.broker_address) as host:
        broker = Mosquitto(tmp_path / "broker", address="0.0.0.0")
        broker.host = network.outside_address
        broker.start("ip", "netns", "exec", network.broker)
        assert eventually(broker.listens), broker.log()
        url = f"mqtt://{host}:{broker.port}"
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
@pytest.mark.parametrize("seconds", [10, 13, 16])  # the system's resolver asks every five seconds
def test_a_partition_with_the_name_server_behind_it(tmp_path: Path, seconds: float) -> None:
    result, watcher, healed_s = fault_in_network(tmp_path, seconds, Network.swallow, Network.deliver, by_name=True)
    check(result, watcher, healed_s)


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
    assert watcher.payloads("presence") == [b"ON" if present else b"OFF" for _, present in result["changes"]]
    assert watcher.payloads("status") == [b"online", b"offline"]
    assert json.loads(watcher.payloads("info")[-1])["mqtt"] == "3.1.1"
    assert len(watcher.payloads("pose")) >= 15
    check_device(result)
