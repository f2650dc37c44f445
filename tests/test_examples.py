"""The examples in docs/examples, as far as they run without a window, Node-RED or Home Assistant."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from brokers import Mosquitto, eventually, needs_mosquitto
from wire import listen, sample_message

from edge.errors import BrokerRefusedError
from edge.messages import Health, Info, PoseMessage, encode
from edge.mqtt_message import Message
from edge.mqtt_once import publish_once
from edge.packed import pack
from edge.pipeline import Controls
from edge.publisher import Publisher

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


@needs_mosquitto
def test_the_access_list_lets_a_device_write_its_own_topics_only(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    for user in ("kitchen", "attic", "homeassistant"):
        create = [] if passwords.exists() else ["-c"]
        command = ["mosquitto_passwd", "-b", *create, str(passwords), user, f"{user}'s secret"]
        subprocess.run(command, check=True, capture_output=True)
        (tmp_path / user).write_text(f"{user}'s secret\n")
    options = ("allow_anonymous false", f"password_file {passwords}", f"acl_file {EXAMPLES / 'mosquitto.acl'}")
    with Mosquitto(tmp_path / "broker", *options) as broker:

        def login(name: str, **values: object) -> dict[str, object]:
            return {"username": name, "password_file": str(tmp_path / name), **values}

        controls = Controls()
        kitchen = Publisher(broker.settings(**login("kitchen", homeassistant=True)), Info(device="kitchen"), controls)
        with listen(broker, "edge-pose/#", "homeassistant/#", **login("homeassistant")) as reader:
            kitchen.start()
            kitchen.publish_presence(True, 1.0)
            kitchen.publish_count(1, 1.0)
            kitchen.publish_health(Health(time=1.0))
            kitchen.publish_pose(encode(sample_message()), pack(sample_message()))
            seen: set[str] = set()

            def arrived(*names: str) -> bool:
                message = reader.get(0.1)
                seen.add(message.topic if message else "")
                return {f"edge-pose/kitchen/{name}" for name in names} <= seen

            said = ("pose", "pose/packed", "presence", "count", "status", "health", "info")
            assert eventually(lambda: arrived(*said)), seen
            # Now that the device has said so much, it has subscribed to its commands too.
            publish_once(
                broker.settings(**login("homeassistant")), Message("edge-pose/kitchen/set/max_fps", b"7", qos=1)
            )
            assert eventually(lambda: arrived("set/max_fps/result")), seen
            assert "homeassistant/device/edge-pose-kitchen/config" in seen
            assert controls.max_fps == 7
            assert kitchen.state.detail == ""
            for topic in ("edge-pose/kitchen/presence", "edge-pose/kitchen/set/enabled", "homeassistant/status"):
                with pytest.raises(BrokerRefusedError, match="does not allow"):
                    publish_once(broker.settings(**login("attic")), Message(topic, b"OFF", qos=1))
        kitchen.close()
    assert controls.enabled


@needs_mosquitto
def test_the_recorder_records_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "poses.jsonl"
    with Mosquitto(tmp_path / "broker") as broker:
        command = [sys.executable, str(EXAMPLES / "record.py"), str(file), "--port", str(broker.port)]
        # Tests that were started in the background inherit an ignored Ctrl-C; a terminal does not ignore it.
        recorder = subprocess.Popen(["env", "--default-signal=INT", *command], stdout=subprocess.DEVNULL)
        publisher = Publisher(broker.settings(), Info(device="kitchen"))
        publisher.start()

        def lines() -> list[str]:
            publisher.publish_pose(encode(sample_message(seq=3)))
            return file.read_text().splitlines() if file.exists() else []

        try:
            assert eventually(lambda: "Received SUBSCRIBE" in broker.log())
            assert eventually(lambda: len(lines()) >= 3)
            recorder.send_signal(signal.SIGINT)
            assert recorder.wait(10) == 0
        finally:
            recorder.kill()
            recorder.wait()
            publisher.close()
    record = json.loads(lines()[0])
    assert record["topic"] == "edge-pose/kitchen/pose"
    assert record["message"] == json.loads(encode(sample_message(seq=3)))


def test_the_node_red_flow_is_one_piece_and_uses_topics_that_exist() -> None:
    nodes = json.loads((EXAMPLES / "node-red-flow.json").read_text())
    known = {node["id"] for node in nodes}
    wired = {target for node in nodes for wire in node.get("wires", []) for target in wire}
    assert wired <= known
    topics = {node["topic"].rpartition("/")[2] for node in nodes if node["type"] == "mqtt in"}
    assert topics == {"presence", "pose"}
    assert "poses" in PoseMessage.__struct_fields__
