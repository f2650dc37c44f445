"""Run by scripts/test-homeassistant with Home Assistant's Python: its schemas and templates judge our messages.

python check.py ANNOUNCEMENT.json AUTOMATION.yaml
"""

import asyncio
import importlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from homeassistant.components.automation.config import PLATFORM_SCHEMA as AUTOMATION_SCHEMA  # type: ignore[import-not-found]
from homeassistant.components.mqtt.mixins import MQTT_ENTITY_DEVICE_INFO_SCHEMA  # type: ignore[import-not-found]
from homeassistant.core import HomeAssistant  # type: ignore[import-not-found]
from homeassistant.helpers.template import Template  # type: ignore[import-not-found]
from homeassistant.util.yaml import load_yaml  # type: ignore[import-not-found]

# Home Assistant 2024.11's device discovery: a topic of this form, and at the root nothing but these keys.
TOPIC = r"homeassistant/device/[a-zA-Z0-9_-]+/config"
ROOT = {"device", "origin", "components", "availability_topic", "payload_available", "payload_not_available"}
# What each template must give for each health message; None is unknown.
EXPECTED: dict[str, dict[str, float | str | None]] = {
    "fps": {"known": 14.5, "unknown": 0.0, "fine": 0.0},
    "latency": {"known": 61.0, "unknown": None, "fine": None},
    "temperature": {"known": 58.4, "unknown": None, "fine": None},
    "stalled": {"known": "ON", "unknown": "OFF", "fine": "OFF"},
    "throttled": {"known": "ON", "unknown": None, "fine": "OFF"},
    "enabled": {"known": "ON", "unknown": "OFF", "fine": "ON"},
    "max_fps": {"known": 5.0, "unknown": 0.0, "fine": 0.0},
}


def check_entity(key: str, entity: dict[str, Any], shared: dict[str, Any]) -> None:
    """Home Assistant hands an entity what the device's message shares; its strict schema refuses unknown keys."""
    platform = importlib.import_module(f"homeassistant.components.mqtt.{entity['platform']}")
    config = {**shared, **{name: value for name, value in entity.items() if name != "platform"}}
    platform.PLATFORM_SCHEMA_MODERN(config)
    platform.DISCOVERY_SCHEMA(dict(config))
    print(f"accepted: {entity['platform']}.{key}")


def check_templates(hass: HomeAssistant, components: dict[str, Any], health: dict[str, str]) -> None:
    for key, expected in EXPECTED.items():
        template = Template(components[key]["value_template"], hass)
        for name, payload in health.items():
            given = template.async_render_with_possible_json_value(payload, "failed")
            wanted = str(expected[name])  # "None" is what Home Assistant takes for unknown
            assert given == wanted, f"{key}, health {name}: expected {wanted!r}, given {given!r}"
        print(f"rendered: {key}")


async def main(document: dict[str, Any], automation: str) -> None:
    payload = document["payload"]
    assert re.fullmatch(TOPIC, document["topic"]), document["topic"]
    assert set(payload) == ROOT, set(payload) ^ ROOT
    MQTT_ENTITY_DEVICE_INFO_SCHEMA(payload["device"])
    assert set(payload["origin"]) <= {"name", "sw_version", "support_url"}
    shared = {name: payload[name] for name in ROOT - {"origin", "components"}}
    for key, entity in payload["components"].items():
        check_entity(key, entity, shared)
    with tempfile.TemporaryDirectory() as directory:
        hass = HomeAssistant(directory)
        check_templates(hass, payload["components"], document["health"])
        for config in load_yaml(automation):
            AUTOMATION_SCHEMA(config)
            print(f"accepted: automation {config['alias']!r}")
        await hass.async_stop(force=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]))
