"""Home Assistant's discovery; its own schemas are asked by scripts/test-homeassistant."""

import json
from pathlib import Path

import pytest
from brokers import Mosquitto, eventually, needs_mosquitto
from test_publisher_commands import Sender
from wire import listen

from edge import homeassistant
from edge.config import MqttSettings
from edge.messages import Info, ModelInfo
from edge.mqtt_message import Message
from edge.publisher import Publisher
from edge.topics import Topics

SETTINGS = MqttSettings(device_name="kitchen", homeassistant=True)
INFO = Info(device="kitchen", models=(ModelInfo(role="landmarks", name="lite", precision="int8"),))
CONFIG_TOPIC = "homeassistant/device/edge-pose-kitchen/config"


def test_one_message_announces_every_entity_and_no_poses() -> None:
    message = homeassistant.announcement(SETTINGS, INFO)
    document = json.loads(message.payload)
    assert (message.topic, message.retain, message.qos) == (CONFIG_TOPIC, True, 1)
    assert document["device"]["model"] == "BlazePose lite int8"
    assert document["availability_topic"] == "edge-pose/kitchen/status"
    assert {key: entity["platform"] for key, entity in document["components"].items()} == {
        "presence": "binary_sensor",
        "count": "sensor",
        "fps": "sensor",
        "latency": "sensor",
        "temperature": "sensor",
        "stalled": "binary_sensor",
        "throttled": "binary_sensor",
        "enabled": "switch",
        "max_fps": "number",
        "redetect": "button",
    }
    assert "edge-pose/kitchen/pose" not in message.payload.decode()
    assert len({entity["unique_id"] for entity in document["components"].values()}) == 10


@pytest.mark.parametrize("name", ["front door", "küche", "a.b", "kitchen"])
def test_ids_hold_only_what_home_assistant_allows_and_differ(name: str) -> None:
    found = homeassistant.object_id(Topics("edge-pose", name))
    assert all(character.isascii() and (character.isalnum() or character in "-_") for character in found)
    assert found != homeassistant.object_id(Topics("edge-pose", name.replace(" ", "_").replace(".", "_") + "x"))
    assert homeassistant.object_id(Topics("edge-pose", "a.b")) != homeassistant.object_id(Topics("edge-pose", "a b"))


@needs_mosquitto
def test_the_announcement_comes_at_connect_and_at_birth_and_goes_on_demand(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        settings = broker.settings(homeassistant=True)
        publisher = Publisher(settings, INFO)
        with listen(broker, CONFIG_TOPIC) as reader:
            publisher.start()
            first = reader.get(5)
            assert first is not None
            assert json.loads(first.payload)["components"]["count"]["state_topic"] == "edge-pose/kitchen/count"
            sender = Sender(broker, [Message("homeassistant/status", b"online", qos=1)])
            again = reader.get(5)
            assert again is not None
            assert again.payload == first.payload
            sender.close()
            publisher.close()
            homeassistant.remove(settings)
            removed = reader.get(5)
            assert removed is not None
            assert removed.payload == b""
        with listen(broker, CONFIG_TOPIC) as late:
            assert late.get(0.5) is None


@needs_mosquitto
def test_nothing_is_announced_unless_asked_for(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        publisher = Publisher(broker.settings(), INFO)
        with listen(broker, "homeassistant/#", "edge-pose/kitchen/info") as reader:
            publisher.start()
            info = reader.get(5)
            publisher.close()
            assert info is not None
            assert info.topic == "edge-pose/kitchen/info"
            assert eventually(lambda: publisher.state.phase == "closed")
            assert reader.get(0.3) is None
