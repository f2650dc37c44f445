"""The command `run` as a user gives it: a real clip in, every topic out on a real broker."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jsonschema
from brokers import Mosquitto, eventually, needs_mosquitto
from wire import Sender, listen, retained

from edge.messages import Health, Info, PoseMessage, decode, decode_pose
from edge.mqtt_message import Message, Received
from edge.packed import unpack
from edge.schema import schema_text

WANTED = {"pose": 20, "pose/packed": 20, "presence": 1, "count": 1, "status": 1, "health": 2, "info": 1}


@needs_mosquitto
def test_run_says_everything_and_the_broker_says_when_it_was_killed(tmp_path: Path, clip: Path) -> None:
    printed = tmp_path / "printed"
    given = {"DEVICE_NAME": "kitchen", "PACKED": "true", "HEALTH_INTERVAL": "1", "KEEPALIVE": "2"}
    environment = {**os.environ, **{f"EDGE_POSE_MQTT_{name}": value for name, value in given.items()}}
    with Mosquitto(tmp_path / "broker") as broker, listen(broker, "edge-pose/#") as reader:
        seen: dict[str, list[Received]] = {name: [] for name in WANTED}

        def all_came() -> bool:
            message = reader.get(0.1)
            while message is not None:
                seen[message.topic.removeprefix("edge-pose/kitchen/")].append(message)
                message = reader.get(0)
            return all(len(seen[name]) >= least for name, least in WANTED.items())

        command = ["run", "--source", str(clip), "--realtime", "--loop", "--broker", broker.url, "--print"]
        with printed.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-m", "edge", *command], env=environment, stdout=out)
            try:
                assert eventually(all_came, 60), {name: len(messages) for name, messages in seen.items()}
                assert retained(broker)["status"].payload == b"online"
                published = {message.payload for message in seen["pose"]}
                assert eventually(lambda: published <= set(printed.read_bytes().splitlines()))
            finally:
                process.kill()
                process.wait()
        assert eventually(lambda: retained(broker, 0.2)["status"].payload == b"offline")
        assert retained(broker)["presence"].payload == b"ON"  # what was known last

    for name, kind in (("pose", PoseMessage), ("health", Health), ("info", Info)):
        for message in seen[name]:
            jsonschema.validate(json.loads(message.payload), json.loads(schema_text(kind)))
    poses = {pose.seq: pose for pose in (decode_pose(message.payload) for message in seen["pose"])}
    for message in seen["pose/packed"]:
        pose = unpack(message.payload, "kitchen")
        assert poses.get(pose.seq, pose) == pose
    assert seen["count"][0].payload == b"1"
    assert abs((seen["presence"][0].time_s or 0.0) - poses[min(poses)].time) < 10


@needs_mosquitto
def test_while_a_service_waits_for_its_camera_health_says_so_and_commands_hold(tmp_path: Path) -> None:
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "EDGE_POSE_MQTT_DEVICE_NAME": "kitchen"}
    with Mosquitto(tmp_path / "broker") as broker, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(told["NOTIFY_SOCKET"])

        def health() -> Health:
            return decode(retained(broker, 0.2)["health"].payload, Health)

        command = ["run", "--source", str(tmp_path / "never.mp4"), "--broker", broker.url]
        process = subprocess.Popen([sys.executable, "-m", "edge", *command], env={**os.environ, **told})
        try:
            assert eventually(lambda: "health" in retained(broker, 0.2), 60)
            assert health().stalled
            sender = Sender(broker, [Message("edge-pose/kitchen/set/enabled", b"OFF", qos=1)])
            assert eventually(lambda: not health().enabled)
            sender.close()
            assert retained(broker, 0.2)["presence"].payload == b"OFF"
            assert retained(broker, 0.2)["count"].payload == b"0"
        finally:
            process.kill()
            process.wait()
