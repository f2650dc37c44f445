"""What Home Assistant is told about a device: one retained message of MQTT device discovery (2024.11 and later).

The raw pose stream is never an entity: its rate would fill Home Assistant's database.
"""

import hashlib
import re
from typing import Any

import msgspec

from edge import __version__
from edge.commands import MAX_FPS
from edge.config import MqttSettings
from edge.messages import Info
from edge.mqtt_message import Message
from edge.mqtt_once import publish_once
from edge.topics import OFF, OFFLINE, ON, ONLINE, Topics

BIRTH = b"online"
PRESS = "PRESS"
# Health comes every 30 s; a figure that misses three of them is out of date.
EXPIRE_AFTER_HEALTH = 3


def birth_topic(settings: MqttSettings) -> str:
    """Where Home Assistant says that it has started."""
    return f"{settings.homeassistant_prefix}/status"


def config_topic(settings: MqttSettings) -> str:
    """Where this device is announced."""
    return f"{settings.homeassistant_prefix}/device/{object_id(Topics.of(settings))}/config"


def object_id(topics: Topics) -> str:
    """The device's id: letters, digits, - and _ only, and different for names that differ."""
    name = f"{topics.base}-{topics.device}"
    plain = re.sub(r"[^a-zA-Z0-9_-]", "_", name)
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def announcement(settings: MqttSettings, info: Info) -> Message:
    """The retained message that makes the device and its entities."""
    topics = Topics.of(settings)
    model = ", ".join(f"{model.name} {model.precision}" for model in info.models if model.role == "landmarks")
    document = {
        "device": {
            "identifiers": [object_id(topics)],
            "name": topics.device,
            "manufacturer": "edge-pose",
            "model": f"BlazePose {model}" if model else "BlazePose",
            "sw_version": info.version,
        },
        "origin": {"name": "edge-pose", "sw_version": __version__},
        "availability_topic": topics.status,
        "payload_available": ONLINE.decode(),
        "payload_not_available": OFFLINE.decode(),
        "components": components(settings),
    }
    payload = msgspec.json.encode(document)
    return Message(config_topic(settings), payload, qos=1, retain=True, content_type="application/json")


def withdrawal(settings: MqttSettings) -> Message:
    """The message that makes Home Assistant forget the device."""
    return Message(config_topic(settings), b"", qos=1, retain=True)


def remove(settings: MqttSettings) -> None:
    """Make Home Assistant forget the device of these settings.

    Raises:
        ConfigError: the broker's URL, the password file or a certificate.
        BrokerError: it cannot be reached, or refuses.
    """
    publish_once(settings, withdrawal(settings))


def components(settings: MqttSettings) -> dict[str, dict[str, Any]]:
    """Every entity, by the last part of its unique id."""
    topics = Topics.of(settings)
    entities = {
        **_states(topics),
        **_diagnostics(topics, round(settings.health_interval * EXPIRE_AFTER_HEALTH)),
        **_controls(topics),
    }
    prefix = object_id(topics)
    return {key: {"unique_id": f"{prefix}_{key}", **entity} for key, entity in entities.items()}


def _states(topics: Topics) -> dict[str, dict[str, Any]]:
    return {
        "presence": {
            "platform": "binary_sensor",
            "name": "Presence",
            "device_class": "occupancy",
            "state_topic": topics.presence,
            "payload_on": ON.decode(),
            "payload_off": OFF.decode(),
        },
        "count": {
            "platform": "sensor",
            "name": "People",
            "icon": "mdi:account-multiple",
            "state_class": "measurement",
            "state_topic": topics.count,
        },
    }


def _diagnostics(topics: Topics, expire_after_s: int) -> dict[str, dict[str, Any]]:
    common = {"state_topic": topics.health, "entity_category": "diagnostic", "expire_after": expire_after_s}
    return _figures(common) | _problems(common)


def _figures(common: dict[str, Any]) -> dict[str, dict[str, Any]]:
    number = {"platform": "sensor", "state_class": "measurement", **common}
    return {
        "fps": {
            **number,
            "name": "Frame rate",
            "icon": "mdi:speedometer",
            "unit_of_measurement": "fps",
            "suggested_display_precision": 1,
            "value_template": "{{ value_json.fps }}",
        },
        "latency": {
            **number,
            "name": "Latency",
            "device_class": "duration",
            "unit_of_measurement": "ms",
            "suggested_display_precision": 0,
            "value_template": "{{ value_json.latency_ms.p50 }}",
        },
        "temperature": {
            **number,
            "name": "Processor temperature",
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "value_template": "{{ value_json.temperature_c }}",
        },
    }


def _problems(common: dict[str, Any]) -> dict[str, dict[str, Any]]:
    problem = {
        "platform": "binary_sensor",
        "device_class": "problem",
        "payload_on": ON.decode(),
        "payload_off": OFF.decode(),
        **common,
    }
    return {
        "stalled": {
            **problem,
            "name": "Camera silent",
            "value_template": "{{ 'ON' if value_json.stalled else 'OFF' }}",
        },
        "throttled": {
            **problem,
            "name": "Throttled",
            # None is Home Assistant's word for unknown: this host cannot tell.
            "value_template": "{{ None if value_json.throttled is none else 'ON' if value_json.throttled else 'OFF' }}",
        },
    }


def _controls(topics: Topics) -> dict[str, dict[str, Any]]:
    return {
        "enabled": {
            "platform": "switch",
            "name": "Enabled",
            "icon": "mdi:human",
            "command_topic": topics.command("enabled"),
            "payload_on": ON.decode(),
            "payload_off": OFF.decode(),
            "state_topic": topics.health,
            "value_template": "{{ 'ON' if value_json.enabled else 'OFF' }}",
            "qos": 1,
        },
        "max_fps": {
            "platform": "number",
            "name": "Frame rate limit",
            "icon": "mdi:speedometer-slow",
            "command_topic": topics.command("max_fps"),
            "state_topic": topics.health,
            "value_template": "{{ value_json.max_fps }}",
            "unit_of_measurement": "fps",
            "min": 0,
            "max": MAX_FPS,
            "step": 0.5,
            "mode": "box",
            "entity_category": "config",
            "qos": 1,
        },
        "redetect": {
            "platform": "button",
            "name": "Detect anew",
            "icon": "mdi:account-search",
            "command_topic": topics.command("redetect"),
            "payload_press": PRESS,
            "entity_category": "config",
            "qos": 1,
        },
    }
