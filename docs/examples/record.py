"""Record what devices publish, one JSON object a line, until Ctrl-C.

    python record.py poses.jsonl [--host 127.0.0.1] [--port 1883] [--topics 'edge-pose/+/pose']

Each line: {"received": seconds since 1970, "topic": "...", "message": {...}}. Needs paho-mqtt only.
"""

import argparse
import json
import time
from pathlib import Path

import paho.mqtt.client as mqtt


def main() -> None:
    """Subscribe, and append every message to the file as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--topics", default="edge-pose/+/pose")
    options = parser.parse_args()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_connect = lambda *_: client.subscribe(options.topics)
    with options.file.open("a", encoding="utf-8", buffering=1) as out:

        def record(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
            line = {"received": round(time.time(), 3), "topic": message.topic, "message": json.loads(message.payload)}
            out.write(json.dumps(line, separators=(",", ":")) + "\n")

        client.on_message = record
        client.connect(options.host, options.port)
        try:
            client.loop_forever()
        except KeyboardInterrupt:
            print(f"recorded to {options.file}")


if __name__ == "__main__":
    main()
