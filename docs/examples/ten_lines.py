"""The shortest reader: print where the nose of each person is. Needs paho-mqtt only."""

import json

from paho.mqtt import subscribe


def show(_client: object, _data: object, message: object) -> None:
    """Print one line a person."""
    for pose in json.loads(message.payload)["poses"]:
        print(message.topic, pose["id"], "nose at", pose["keypoints"][0][:2])


subscribe.callback(show, "edge-pose/+/pose", hostname="127.0.0.1")
