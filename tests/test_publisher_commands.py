"""Commands over MQTT: carried out, answered, refused, and harmless in any number."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from brokers import Mosquitto, eventually, needs_mosquitto
from wire import Sender, listen, retained, sample_message

from edge.commands import Commands, Result
from edge.messages import Health, Info, decode, encode
from edge.mqtt_message import Message, Received
from edge.pipeline import Controls, Figures
from edge.publisher import Publisher
from edge.reporter import Reporter

INFO = Info(device="kitchen")
QOS: tuple[Literal[0, 1], ...] = (0, 1)


@pytest.mark.parametrize(
    ("name", "payload", "value"),
    [
        ("enabled", b"OFF", False),
        ("enabled", b"ON", True),
        ("enabled", b"false", False),
        ("max_fps", b"12.5", 12.5),
        ("max_fps", b"0", 0.0),
        ("redetect", b"PRESS", True),
        ("redetect", b"", True),
    ],
)
def test_good_commands_are_carried_out(name: str, payload: bytes, value: float) -> None:
    controls = Controls()
    assert Commands(controls).handle(name, payload) == Result(ok=True, value=value)
    if name == "redetect":
        assert controls.redetect.is_set()
    else:
        assert getattr(controls, name) == value


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("enabled", b"maybe", "expected ON, OFF, true or false"),
        ("enabled", b"", "expected ON, OFF, true or false"),
        ("max_fps", b"-1", "expected a number"),
        ("max_fps", b"fast", "expected a number"),
        ("max_fps", b"1e999", "expected a number"),
        ("max_fps", b"NaN", "expected a number"),
        ("max_fps", b"\xff", "expected a number"),
        ("max_fps", b"1" * 5000, "5000 bytes"),
        ("reboot", b"", "unknown command 'reboot'; known are enabled, max_fps, redetect"),
        ("", b"", "unknown command"),
    ],
)
def test_bad_commands_are_refused_with_a_reason_and_change_nothing(name: str, payload: bytes, expected: str) -> None:
    controls = Controls(max_fps=7.0)
    result = Commands(controls).handle(name, payload)
    assert not result.ok
    assert expected in result.error
    assert (controls.enabled, controls.max_fps, controls.redetect.is_set()) == (True, 7.0, False)


def test_ten_thousand_random_commands_raise_nothing() -> None:
    generator = random.Random(4)  # noqa: S311 -- the same inputs each time
    controls = Controls()
    publisher = Publisher(Mosquitto.settings(_nowhere()), INFO, controls)
    publisher._rate._limit = 10**6  # every one is looked at
    refused = 0
    for _ in range(10_000):
        name = generator.choice(
            ["enabled", "max_fps", "redetect", "x", "", "é" * 70, "max_fps/result", "a+b", "#", "\ufffe"]
        )
        payload = generator.randbytes(generator.choice([0, 1, 2, 4, 30, 500]))
        publisher.received(Received(publisher.topics.command(name), payload, retained=generator.random() < 0.1))
        refused += not Commands(controls).handle(name, payload).ok
    assert refused > 5_000
    assert not [message.topic for message in publisher._results if set("+#") & set(message.topic)]
    assert 0 <= controls.max_fps <= 1000
    assert isinstance(controls.enabled, bool)


def _nowhere() -> Mosquitto:
    """A broker that is never started; only its settings are used."""
    broker = object.__new__(Mosquitto)
    broker.host, broker.port = "127.0.0.1", 9
    return broker


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@needs_mosquitto
def test_commands_are_answered_and_health_shows_the_new_value(mosquitto: Mosquitto) -> None:
    controls = Controls()
    settings = mosquitto.settings(health_interval=3600.0)
    publisher = Publisher(settings, INFO, controls)
    publisher.start()
    reporter = Reporter(settings, publisher, Figures(), controls)

    def health() -> Health | None:
        reporter.tick()
        found = retained(mosquitto, 0.2).get("health")
        return found and decode(found.payload, Health)

    assert eventually(lambda: health() is not None)  # at the start already: what is retained may be of the run before
    before_s = time.time()
    with listen(mosquitto, "edge-pose/kitchen/set/+/result") as reader:
        sender = Sender(mosquitto, [Message("edge-pose/kitchen/set/max_fps", b"5", qos=1)])
        answer = reader.get(5)
        assert answer is not None
        assert answer.topic == "edge-pose/kitchen/set/max_fps/result"
        assert msgspec.json.decode(answer.payload) == {"ok": True, "value": 5.0}
        sender.close()
        sender = Sender(mosquitto, [Message("edge-pose/kitchen/set/selfdestruct", b"now")])
        answer = reader.get(5)
        assert answer is not None
        assert not msgspec.json.decode(answer.payload)["ok"]
        sender.close()
    assert controls.max_fps == 5.0
    assert eventually(lambda: (told := health()) is not None and told.max_fps == 5.0 and told.time > before_s)
    publisher.close()


@needs_mosquitto
def test_a_command_from_the_past_is_not_carried_out(mosquitto: Mosquitto) -> None:
    sender = Sender(mosquitto, [Message("edge-pose/kitchen/set/enabled", b"OFF", qos=1, retain=True)])
    assert eventually(lambda: sender.done)
    sender.close()
    for protocol in ("5", "3.1.1"):
        controls = Controls()
        publisher = Publisher(mosquitto.settings(protocol=protocol), INFO, controls)
        publisher.start()
        publisher.publish_count(0, 1.0)
        assert eventually(lambda: "count" in retained(mosquitto, 0.3))
        publisher.close()
        assert controls.enabled


@needs_mosquitto
def test_a_flood_of_commands_harms_nobody(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    controls = Controls()
    publisher = Publisher(mosquitto.settings(), INFO, controls)
    publisher.start()
    assert eventually(lambda: publisher.state.phase == "connected")
    generator = random.Random(5)  # noqa: S311 -- the same inputs each time
    names = ["enabled", "max_fps", "redetect", "x" * 300, "é"]
    flood = [
        Message(
            f"edge-pose/kitchen/set/{generator.choice(names)}",
            generator.choice([b"ON", b"5", generator.randbytes(generator.randrange(200))]),
            generator.choice(QOS),
        )
        for _ in range(10_000)
    ]
    with listen(mosquitto, "edge-pose/kitchen/pose", "edge-pose/kitchen/presence") as reader:
        sender = Sender(mosquitto, flood)
        slowest_s = 0.0
        for number in range(60):
            started = time.monotonic()
            publisher.publish_pose(encode(sample_message(seq=number)))
            if number == 30:
                publisher.publish_presence(True, 5.0)
            slowest_s = max(slowest_s, time.monotonic() - started)
            time.sleep(1 / 30)
        assert eventually(lambda: sender.done)
        assert eventually(lambda: reader.messages.qsize() >= 50)
        sender.close()
        topics = [reader.messages.get_nowait().topic for _ in range(reader.messages.qsize())]
    assert topics.count("edge-pose/kitchen/presence") == 1
    assert topics.count("edge-pose/kitchen/pose") >= 50
    assert slowest_s < 0.25  # the loop is never held up by the network
    assert caplog.text.count("commands a second arrive") == 1
    assert publisher.state.phase == "connected"
    publisher.close()
