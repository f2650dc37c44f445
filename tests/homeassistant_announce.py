"""Print what edge-pose announces, and health messages for its templates, as one JSON document."""

import json

from edge import homeassistant
from edge.config import MqttSettings
from edge.messages import Health, Info, ModelInfo, Percentiles, encode

SETTINGS = MqttSettings(device_name="front door", homeassistant=True)
INFO = Info(device="front door", models=(ModelInfo(role="landmarks", name="lite", precision="int8"),))
LATENCY = Percentiles(p50=61.0, p95=70.5, p99=90.0)
KNOWN = Health(
    time=1.0,
    fps=14.5,
    latency_ms=LATENCY,
    stalled=True,
    temperature_c=58.4,
    throttled=["under-voltage"],
    max_fps=5.0,
)
UNKNOWN = Health(time=1.0, enabled=False)
FINE = Health(time=1.0, throttled=[])

if __name__ == "__main__":
    announcement = homeassistant.announcement(SETTINGS, INFO)
    document = {
        "topic": announcement.topic,
        "payload": json.loads(announcement.payload),
        "health": {
            name: encode(value).decode() for name, value in (("known", KNOWN), ("unknown", UNKNOWN), ("fine", FINE))
        },
    }
    print(json.dumps(document))
