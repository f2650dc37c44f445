"""The publisher against real brokers: what a subscriber sees in good times."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import msgspec
import pytest
from brokers import Mosquitto, eventually, needs_mosquitto
from networks import Door
from wire import listen, retained, sample_message

from edge import link
from edge.config import LONGEST_LEVEL, LONGEST_PATH, MqttSettings
from edge.demo_broker import DemoBroker
from edge.errors import ConfigError
from edge.messages import Health, Info, decode, encode
from edge.mqtt_message import Received
from edge.packed import pack
from edge.publisher import POSE_QUEUE, Publisher
from edge.schema import schema_text
from edge.subscriber import Subscriber

INFO = Info(device="kitchen")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


def test_a_pose_that_is_dropped_in_both_its_forms_is_one() -> None:
    publisher = Publisher(MqttSettings(device_name="kitchen"), INFO)
    for number in range(20):
        message = sample_message(seq=number)
        publisher.publish_pose(encode(message), pack(message))
    assert publisher.poses_dropped == 20 - POSE_QUEUE / 2


@needs_mosquitto
def test_poses_arrive_in_order_and_follow_the_schema(mosquitto: Mosquitto) -> None:
    schema = msgspec.json.decode(schema_text(type(sample_message())))
    publisher = Publisher(mosquitto.settings(), INFO)
    with listen(mosquitto, "edge-pose/kitchen/pose") as reader:
        publisher.start()
        assert eventually(lambda: publisher.state.phase == "connected")
        for number in range(30):
            publisher.publish_pose(encode(sample_message(seq=number)))
            time.sleep(0.005)
        received = [reader.get(5) for _ in range(30)]
    publisher.close()
    documents = [msgspec.json.decode(message.payload) for message in received if message]
    for document in documents:
        jsonschema.validate(document, schema)
    assert [document["seq"] for document in documents] == list(range(30))


@needs_mosquitto
def test_the_longest_names_that_are_allowed_reach_their_readers(mosquitto: Mosquitto) -> None:
    letter = "\U00010348"  # of four bytes
    base = "/".join(LONGEST_PATH // 2 * [letter])
    publisher = Publisher(mosquitto.settings(base=base, device_name=LONGEST_LEVEL * letter), INFO)
    with listen(mosquitto, f"{base}/+/pose") as reader:
        publisher.start()
        assert eventually(lambda: publisher.state.phase == "connected"), publisher.state
        publisher.publish_pose(encode(sample_message()))
        assert reader.get(5) is not None
    publisher.close()


@needs_mosquitto
def test_retained_topics_tell_a_late_reader_everything(mosquitto: Mosquitto) -> None:
    publisher = Publisher(mosquitto.settings(), INFO)
    publisher.start()
    publisher.publish_presence(True, 1000.5)
    publisher.publish_count(2, 1000.5)
    publisher.publish_health(Health(time=1001.0, fps=14.5))
    assert eventually(lambda: len(retained(mosquitto, 0.3)) == 5)
    seen = retained(mosquitto)
    publisher.close()
    assert seen["status"].payload == b"online"
    assert (seen["presence"].payload, seen["presence"].time_s) == (b"ON", 1000.5)
    assert seen["count"].payload == b"2"
    assert decode(seen["health"].payload, Health).fps == 14.5
    info = decode(seen["info"].payload, Info)
    assert info.mqtt == "5"
    assert len(info.keypoint_names) == 33


@needs_mosquitto
def test_somebody_elses_client_sees_how_long_messages_hold_and_what_they_are(mosquitto: Mosquitto) -> None:
    publisher = Publisher(mosquitto.settings(), INFO)
    command = ["mosquitto_sub", "-V", "mqttv5", "-p", str(mosquitto.port), "-q", "1", "-t", "edge-pose/#"]
    with subprocess.Popen(
        [*command, "-F", "%t|%E|%C|%q|%r|%P", "-W", "60", "-C", "7"], stdout=subprocess.PIPE, text=True
    ) as reader:
        assert eventually(lambda: "Received SUBSCRIBE" in mosquitto.log())
        publisher.publish_presence(True, 1000.5)
        publisher.publish_count(1, 1000.5)
        publisher.publish_health(Health(time=1001.0))
        publisher.start()
        assert eventually(lambda: publisher.state.phase == "connected")
        publisher.publish_pose(encode(sample_message()), pack(sample_message()))
        output, _ = reader.communicate(timeout=60)
    publisher.close()
    seen = dict(line.removeprefix("edge-pose/kitchen/").split("|", 1) for line in output.splitlines())
    assert seen == {
        "pose": "2|application/json|0|0|",
        "pose/packed": "2|application/octet-stream|0|0|",
        "presence": "|text/plain|1|0|time:1000.500",
        "count": "|text/plain|1|0|time:1000.500",
        "status": "|text/plain|1|0|",
        "health": "|application/json|0|0|",
        "info": "|application/json|1|0|",
    }


@needs_mosquitto
def test_close_says_offline_and_takes_less_than_a_second(mosquitto: Mosquitto) -> None:
    publisher = Publisher(mosquitto.settings(), INFO)
    publisher.start()
    assert eventually(lambda: publisher.state.phase == "connected")
    started = time.monotonic()
    publisher.close()
    assert time.monotonic() - started < 1.2
    assert retained(mosquitto)["status"].payload == b"offline"
    assert publisher.state.phase == "closed"


PUBLISH_FOREVER = """
import sys, time
from edge.config import LONGEST_LEVEL, LONGEST_PATH, MqttSettings
from edge.messages import Info
from edge.publisher import POSE_QUEUE, Publisher
publisher = Publisher(MqttSettings(broker=sys.argv[1], device_name="kitchen", keepalive=2), Info(device="kitchen"))
publisher.start()
time.sleep(60)
"""


@needs_mosquitto
def test_the_will_says_offline_when_the_process_is_killed(mosquitto: Mosquitto) -> None:
    process = subprocess.Popen([sys.executable, "-c", PUBLISH_FOREVER, mosquitto.url])
    try:
        assert eventually(lambda: retained(mosquitto, 0.2).get("status", Received("", b"", True)).payload == b"online")
    finally:
        process.kill()
        process.wait()
    assert eventually(lambda: retained(mosquitto, 0.2)["status"].payload == b"offline")


@needs_mosquitto
def test_a_broker_without_mqtt_5_is_used_with_3_1_1_and_that_is_said_until_it_is_replaced(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    with DemoBroker() as broker, Door(int(broker.url.rpartition(":")[2])) as door:
        settings = MqttSettings(broker=f"mqtt://127.0.0.1:{door.port}", device_name="kitchen")
        publisher = Publisher(settings, INFO)
        with Subscriber(settings, ["edge-pose/kitchen/#"]) as reader:
            publisher.start()
            assert eventually(lambda: publisher.state.phase == "connected" and reader.subscribed.is_set(), 20)
            publisher.publish_pose(encode(sample_message(seq=7)))
            seen: dict[str, bytes] = {}
            assert eventually(lambda: _collect(reader, seen) and {"pose", "info", "status"} <= set(seen))
        assert decode(seen["info"], Info).mqtt == "3.1.1"
        assert seen["status"] == b"online"
        assert caplog.text.count("using MQTT 3.1.1") == 2  # the device, and the reader
        monkeypatch.setattr(link, "ASK_FOR_5_AGAIN_S", 0.0)
        door.lead_to(mosquitto.port)
        assert eventually(lambda: "info" in retained(mosquitto, 0.2))
        assert decode(retained(mosquitto, 0.2)["info"].payload, Info).mqtt == "5"
        publisher.close()


def _collect(reader: Subscriber, seen: dict[str, bytes]) -> bool:
    message = reader.get(0.1)
    if message:
        seen[message.topic.split("/", 2)[2]] = message.payload
    return True


@needs_mosquitto
def test_a_wrong_password_is_said_once_and_the_right_one_helps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "cam", "right"], check=True, capture_output=True)
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    with Mosquitto(tmp_path / "broker", f"password_file {passwords}", "allow_anonymous false") as broker:
        publisher = Publisher(broker.settings(username="cam", password_file=str(secret)), INFO)
        publisher.start()
        assert eventually(lambda: publisher.state.phase == "refused")
        assert "refuses user 'cam'" in publisher.state.detail
        assert eventually(lambda: broker.log().count("not authorised") >= 2)
        assert caplog.text.count("refuses user 'cam'") == 1
        assert "wrong" not in caplog.text.replace("wrong user name", "")
        secret.write_text("right\n")
        assert eventually(lambda: publisher.state.phase == "connected", 20)
        publisher.close()


@needs_mosquitto
def test_a_broker_that_comes_late_and_is_restarted_gets_everything_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker = Mosquitto(tmp_path / "broker")
    publisher = Publisher(broker.settings(), INFO)
    publisher.start()
    publisher.publish_presence(True, 1.0)
    assert eventually(lambda: publisher.state.phase == "offline")
    assert "nothing listens there" in publisher.state.detail
    with broker:
        assert eventually(lambda: "presence" in retained(broker, 0.2))
        broker.restart()
        assert eventually(lambda: len(retained(broker, 0.2)) == 3)
        assert retained(broker)["presence"].payload == b"ON"
        assert publisher.reconnects == 1
        publisher.close()
    assert caplog.text.count("nothing listens there") in (1, 2)  # once an outage, and there were two


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"broker": "mqtt://broker:70000"}, "70000"),
        ({"broker": "http://broker"}, "unknown scheme http://"),
        ({"broker": "broker:1883"}, "did you mean mqtt://broker:1883"),
        ({"broker": "mqtt://me:hunter2@broker"}, "password_file"),
        ({"broker": "mqtt://broker/topic"}, "nothing may follow the port"),
        ({"broker": "mqtt://"}, "no valid host name"),
        ({"broker": "mqtt://broker:0"}, "port 0"),
        ({"broker": "mqtt://broker", "ca_file": "ca.pem"}, "use mqtts://"),
        ({"broker": "mqtts://broker", "ca_file": "/does/not/exist.pem"}, "no such file"),
        ({"broker": "mqtts://broker", "key_file": "key.pem"}, "without mqtt.cert_file"),
        ({"username": "me", "password_file": "/does/not/exist"}, "cannot be read"),
        ({"password_file": "/does/not/exist"}, "without mqtt.username"),
    ],
)
def test_wrong_settings_are_refused_with_advice(settings: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Publisher(msgspec.convert({"device_name": "kitchen", **settings}, MqttSettings), INFO)
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_systemd_hands_over_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge import broker

    Path(tmp_path / "mqtt-password").write_text("from systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert broker.password(MqttSettings(username="me")) == "from systemd"
    assert broker.password(MqttSettings()) is None
